import { isZero, isZeroName, type Namer, nameLength, sameName } from "../format/names.ts";
import { pieceBytes, readWhole } from "./pack-reader.ts";
import type { Order } from "./protocol.ts";

/** For each chunk, 1 where the file holds something else than what has that name. */
export function compareFile(
  { fd, offset, length, names }: Extract<Order, { type: "compare" }>,
  grid: number,
  namer: Namer,
): Uint8Array<ArrayBuffer> {
  const differs = new Uint8Array(Math.ceil(length / grid));
  const piece = new Uint8Array(Math.min(length, Math.max(grid, pieceBytes)));
  for (let at = 0; at < length; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, length - at));
    readWhole(fd, part, offset + at);
    for (let start = 0; start < part.length; start += grid) {
      const content = part.subarray(start, start + grid);
      const number = (at + start) / grid;
      const name = number * nameLength;
      const [zero, zeroWanted] = [isZero(content), isZeroName(names, name)];
      // Zeros have the zero name, and nothing else has it.
      const same = zero || zeroWanted ? zero && zeroWanted : sameName(namer.name(content), 0, names, name);
      differs[number] = same ? 0 : 1;
    }
  }
  return differs;
}
