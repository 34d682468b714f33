import { toError } from "@godwit/core";
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type { EngineError } from "../model/errors.ts";
import { type Place, type Problem, problemsError } from "./problems.ts";
import { ClusterFile } from "./schema.ts";
import { schemaProblems } from "./schema-problems.ts";

/** A cluster file that is well-formed by itself; whether it fits the cluster, the plan says. */
export interface ParsedFile {
  readonly file: ClusterFile;
  /** Makes one error of problems that were found later. */
  error(problems: readonly Problem[]): EngineError;
}

/** A file for 64 hosts has some 30 KiB; what is larger only keeps the server busy (about 0.7 s for 256 KiB of junk). */
const MAX_BYTES = 256 << 10;
/** Levels that a file may have; a real one has six. */
const MAX_DEPTH = 128;
/** One missing quote makes many syntax errors: the first ones tell. */
const MAX_SYNTAX_ERRORS = 10;
/** What all aliases together may repeat: enough for an anchor per host, far from a bomb. */
const MAX_ALIASES = 100;

/** Throws one `invalid` error with every problem at its line and column. */
export function parseClusterFile(text: string, fileName: string): ParsedFile {
  const lines = new LineCounter();
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const unlocated = (found: readonly Found[]): EngineError =>
    problemsError(
      fileName,
      found.map(({ offset, text }) => ({ path: [], text, ...at(offset) })),
    );
  const fail = (what: string, offset = 0): EngineError => unlocated([{ offset, text: what }]);
  if (Buffer.byteLength(text) > MAX_BYTES) throw fail(`the file is larger than ${MAX_BYTES >> 10} KiB`);
  const deep = tooDeep(text);
  if (deep !== undefined) {
    for (const lineBreak of `\n${text}`.slice(0, deep + 1).matchAll(/\n/g)) lines.addNewLine(lineBreak.index);
    throw fail(`nested deeper than ${MAX_DEPTH} levels`, deep);
  }

  // Duplicate keys are looked for below: the library compares every key with every other.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false, strict: true });
  const broken = document.errors.slice(0, MAX_SYNTAX_ERRORS).map((error) => ({ offset: error.pos[0], text: firstLine(error.message) }));
  if (broken.length > 0) throw unlocated(broken);
  const doubles = badKeys(document.contents);
  if (doubles.length > 0) throw unlocated(doubles);
  const value = toValue(document, fail);
  const checked = ClusterFile.safeParse(value);
  const error = (problems: readonly Problem[]): EngineError =>
    problemsError(
      fileName,
      problems.map((problem) => ({ ...problem, ...at(offsetOf(document, problem)) })),
    );
  if (!checked.success) throw error(schemaProblems(checked.error, value));
  return { file: checked.data, error };
}

interface Found {
  readonly offset: number;
  readonly text: string;
}

function toValue(document: Document, fail: (text: string) => EngineError): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    throw fail(`the anchors and aliases cannot be resolved: ${firstLine(toError(error).message)}`);
  }
}

/**
 * The offset at which brackets or indentation go deeper than any cluster file does; undefined when they never
 * do. The library recurses, so this is asked before it. It may count a bracket inside a text, which is harmless.
 */
function tooDeep(text: string): number | undefined {
  let brackets = 0;
  for (let offset = 0; offset < text.length; offset += 1) {
    const character = text[offset];
    if (character === "[" || character === "{") brackets += 1;
    else if (character === "]" || character === "}") brackets = Math.max(0, brackets - 1);
    if (brackets > MAX_DEPTH) return offset;
  }
  const indented = /^(?:[ ]{256}|(?:[ ]*[-?:] ){32})/m.exec(text);
  return indented?.index;
}

/** Keys that are there twice, or are no plain text. */
function badKeys(root: Node | null): Found[] {
  const found: Found[] = [];
  const visit = (node: unknown, depth: number): void => {
    if (depth > MAX_DEPTH) return;
    if (isSeq(node)) for (const item of node.items) visit(item, depth + 1);
    if (!isMap(node)) return;
    const seen = new Set<unknown>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? key.value : undefined;
      if (!isScalar(key) || (typeof name === "object" && name !== null))
        found.push({ offset: offsetOfNode(key), text: "a key must be plain text" });
      else if (seen.has(name)) found.push({ offset: offsetOfNode(key), text: `the key ${JSON.stringify(name)} is there twice` });
      seen.add(name);
      visit(value, depth + 1);
    }
  };
  visit(root, 0);
  return found;
}

/** Where a path is in the text; for what is missing, where its nearest parent is. */
function offsetOf(document: Document, { path, atKey }: Problem): number {
  let node: unknown = document.contents;
  let offset = offsetOfNode(node);
  for (const [index, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isSeq(node) && typeof part === "number") node = node.items[part];
    else if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === part);
      if (!pair) break;
      if (atKey && index === path.length - 1) return offsetOfNode(pair.key);
      node = isNode(pair.value) ? pair.value : pair.key;
    } else break;
    if (isNode(node)) offset = offsetOfNode(node);
  }
  return offset;
}

function offsetOfNode(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!.slice(0, 300);
}
