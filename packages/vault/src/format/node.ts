import { VaultError } from "../errors.ts";
import { isZeroName, nameLength } from "./names.ts";

/** Nodes of disk trees; docs/formats/vault.md, section 6. */
export const fanOut = 64;
const headLength = 4;

/** The fewest levels, at least 1, that hold `chunks` chunks. */
export function levelsFor(chunks: number): number {
  let levels = 1;
  for (let holds = fanOut; holds < chunks; holds *= fanOut) levels += 1;
  return levels;
}

/** The node of `entries` (64 names), or undefined when all of them are zero. */
export function encodeNode(level: number, entries: Uint8Array): Buffer | undefined {
  let count = fanOut;
  while (count > 0 && isZeroName(entries, (count - 1) * nameLength)) count -= 1;
  if (count === 0) return undefined;
  const node = Buffer.alloc(headLength + count * nameLength);
  node[0] = level;
  node.writeUInt16LE(count, 2);
  node.set(entries.subarray(0, count * nameLength), headLength);
  return node;
}

/** The 64 names of a node that must be of `level`. Throws `corrupt`. */
export function decodeNode(node: Uint8Array, level: number): Uint8Array {
  const count = (node[2] ?? 0) | ((node[3] ?? 0) << 8);
  const whole = count >= 1 && count <= fanOut && node.length === headLength + count * nameLength && node[1] === 0;
  if (!whole || node[0] !== level || isZeroName(node, headLength + (count - 1) * nameLength)) {
    throw new VaultError("corrupt", `a tree node of level ${level} makes no sense`);
  }
  const entries = new Uint8Array(fanOut * nameLength);
  entries.set(node.subarray(headLength));
  return entries;
}
