import { EngineError } from "../model/errors.ts";

export type Path = readonly (string | number)[];

/** Something wrong with the file, at its place. */
export interface Problem {
  readonly path: Path;
  readonly text: string;
  /** The place is that of the key itself, not of its value. */
  readonly atKey?: boolean | undefined;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Of a thousand problems of one mistake, nobody reads more. */
const MAX_SHOWN = 50;

/** `networks[1].role` */
export function formatPath(path: Path): string {
  return path.map((part, index) => (typeof part === "number" ? `[${part}]` : index === 0 ? part : `.${part}`)).join("");
}

/** One error for all problems, in the order of the file: `cluster.yaml:12:9 networks[1].role: …`, one a line. */
export function problemsError(fileName: string, problems: readonly (Problem & Place)[]): EngineError {
  const placed = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const lines = placed.map(({ path, text, line, column }) => {
    const key = formatPath(path);
    return { line, text: `${fileName}:${line}:${column} ${oneLine(key === "" ? "" : `${key}: `)}${oneLine(text)}` };
  });
  const more = lines.length > MAX_SHOWN ? `\n… and ${lines.length - MAX_SHOWN} more` : "";
  const shown = lines.slice(0, MAX_SHOWN);
  const checks = shown.map(({ line, text }) => ({
    id: "cluster-file",
    verdict: "fail" as const,
    text,
    remedy: `mend line ${line} of ${fileName}`,
  }));
  return new EngineError("invalid", shown.map(({ text }) => text).join("\n") + more, { fileName }, { checks });
}

/** What the file says may have line breaks in it, or be very long. */
function oneLine(text: string): string {
  return (text.length > 500 ? `${text.slice(0, 500)}… ` : text).replaceAll(/\p{Cc}/gu, "\u2423");
}

/** ` (did you mean 'role'?)`, or nothing when no candidate is near. */
export function didYouMean(text: string, candidates: readonly string[]): string {
  const limit = Math.max(1, Math.min(3, Math.floor(text.length / 3)));
  let best: { readonly candidate: string; readonly distance: number } | undefined;
  for (const candidate of candidates.slice(0, 256)) {
    const distance = editDistance(text.slice(0, 64).toLowerCase(), candidate.toLowerCase());
    if (distance <= limit && distance < (best?.distance ?? Infinity)) best = { candidate, distance };
  }
  return best ? ` (did you mean '${best.candidate}'?)` : "";
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
