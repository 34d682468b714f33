export interface TerminalOptions {
  /** Longer lines go on in the next one. */
  readonly columns: number;
  readonly title: string;
}

const size = { character: 7.25, line: 17, margin: 16, bar: 30, font: 12 } as const;
const colours = { background: "#11161d", bar: "#1c232d", text: "#c9d4e0", command: "#8fd694", heading: "#7cc4ff", dot: "#3b4654" } as const;

/** Text as it would stand in a terminal window, as an SVG without scripts, styles or fonts of its own. */
export function terminalSvg(text: string, { columns, title }: TerminalOptions): string {
  const lines = text
    .trimEnd()
    .split("\n")
    .flatMap((line) => wrapped(line, columns).map((piece) => ({ text: piece, ...styleOf(line) })));
  const width = Math.ceil(columns * size.character + 2 * size.margin);
  const height = size.bar + lines.length * size.line + 2 * size.margin;
  const rows = lines.map((line, at) => row(line, size.bar + size.margin + (at + 1) * size.line - 4));
  const dots = [0, 1, 2].map((at) => `<circle cx="${20 + at * 18}" cy="${size.bar / 2}" r="5" fill="${colours.dot}"/>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${colours.background}"/>`,
    `<rect width="${width}" height="${size.bar}" rx="8" fill="${colours.bar}"/>`,
    ...dots,
    `<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${size.font}" xml:space="preserve">`,
    ...rows,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

/** A line in pieces of at most so many characters, as a terminal breaks it. */
export function wrapped(line: string, columns: number): string[] {
  const characters = Array.from(line);
  const pieces: string[] = [];
  for (let at = 0; at < characters.length; at += columns) pieces.push(characters.slice(at, at + columns).join(""));
  return pieces.length === 0 ? [""] : pieces;
}

interface Row {
  readonly text: string;
  readonly fill: string;
  readonly bold: boolean;
}

/** Commands and headings stand out, all of their pieces. */
function styleOf(line: string): Omit<Row, "text"> {
  if (line.startsWith("$ ")) return { fill: colours.command, bold: true };
  if (line.startsWith("── ")) return { fill: colours.heading, bold: true };
  return { fill: colours.text, bold: false };
}

function row({ text, fill, bold }: Row, y: number): string {
  if (text === "") return "";
  const weight = bold ? ' font-weight="bold"' : "";
  // A length of its own keeps columns aligned whatever font a reader has.
  const length = (size.character * Array.from(text).length).toFixed(1);
  return `<text x="${size.margin}" y="${y}" fill="${fill}"${weight} textLength="${length}">${escaped(text)}</text>`;
}

/** Characters that XML has no place for are dropped. */
function escaped(text: string): string {
  return Array.from(text)
    .filter((character) => character >= " ")
    .join("")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
