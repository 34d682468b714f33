/** One column of a table: its heading and what a row shows in it. */
export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  readonly align?: "right";
}

/** The width of a text on a terminal, near enough: combining marks take none, wide East Asian characters two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}|\p{Me}|\p{Cf}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}

/** What a host or guest named may not move the cursor or colour the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "�");
}

/** The same of a text with lines of its own. */
export function printableLines(text: string): string {
  return text.replace(/(?!\n)\p{Cc}/gu, "�");
}

/** JSON by itself lets through what follows ASCII's control characters, which terminals obey as well. */
export function printableJson(value: unknown): string {
  const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value, undefined, 2).replace(/[\u007f-\u009f]/g, escaped);
}

function pad(text: string, width: number, align: "right" | undefined): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "right" ? space + text : text + space;
}

/** A table in columns two spaces apart; only its headings when there are no rows. */
export function renderTable<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const cells = rows.map((row) => columns.map((column) => printable(String(column.value(row) ?? "-"))));
  const widths = columns.map((column, i) => Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[i] ?? ""))));
  const render = (line: readonly string[]): string =>
    line
      .map((text, i) => pad(text, widths[i] ?? 0, columns[i]?.align))
      .join("  ")
      .trimEnd();
  return [columns.map((column) => column.title), ...cells].map((line) => `${render(line)}\n`).join("");
}

/** Names and values under each other. */
export function renderFields(fields: readonly (readonly [name: string, value: string | number | boolean | undefined])[]): string {
  const shown = fields.filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => name.length + 1));
  return shown.map(([name, value]) => `${`${name}:`.padEnd(width)} ${printable(String(value))}\n`).join("");
}
