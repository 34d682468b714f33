import { VaultError } from "../errors.ts";
import { nameLength } from "./names.ts";
import { limits } from "./objects.ts";
import { compress, decompress } from "./zstd.ts";

/** Records; docs/formats/vault.md, section 5. */
export const itemLength = 28;
const fixedLength = 8;

export type ItemKind = "chunk" | "node";

/** One item of a record: its name and its place in the unpacked payload. */
export interface Item {
  readonly name: Uint8Array;
  readonly offset: number;
  readonly length: number;
}

export interface Record {
  readonly kind: ItemKind;
  readonly items: readonly Item[];
  readonly payload: Uint8Array;
}

/**
 * The content of a record's frame, in parts, valid until the next call on this thread. `payload` holds the items one after the other. `level` is
 * zstd's.
 */
export function encodeRecord(
  kind: ItemKind,
  items: readonly { readonly name: Uint8Array; readonly length: number }[],
  payload: Uint8Array,
  level: number,
): Uint8Array[] {
  const packed = compress(payload, level);
  const helps = packed.length + 16 < payload.length;
  const head = Buffer.alloc(fixedLength + items.length * itemLength);
  head[0] = kind === "chunk" ? 0 : 1;
  head[1] = helps ? 1 : 0;
  head.writeUInt16LE(items.length, 2);
  head.writeUInt32LE(payload.length, 4);
  items.forEach((item, i) => {
    head.set(item.name, fixedLength + i * itemLength);
    head.writeUInt32LE(item.length, fixedLength + i * itemLength + nameLength);
  });
  return [head, helps ? packed : payload];
}

/**
 * Throws `corrupt` on anything that {@link encodeRecord} does not write. The payload is valid until the next
 * call on this thread, or lies in `into` where that has room.
 */
export function decodeRecord(content: Buffer, where: string, into?: Uint8Array): Record {
  const corrupt = (why: string): VaultError => new VaultError("corrupt", `${where} holds a record that makes no sense: ${why}`);
  if (content.length < fixedLength) throw corrupt("too short");
  const [kind, codec] = [content[0]!, content[1]!];
  const count = content.readUInt16LE(2);
  const unpacked = content.readUInt32LE(4);
  if (kind > 1 || codec > 1) throw corrupt(`kind ${kind}, codec ${codec}`);
  if (count < 1 || count > limits.recordItems) throw corrupt(`${count} items`);
  if (unpacked > limits.recordBytes) throw corrupt(`${unpacked} bytes`);
  const start = fixedLength + count * itemLength;
  if (content.length < start) throw corrupt("the list of items is cut");
  const items: Item[] = [];
  let offset = 0;
  for (let at = fixedLength; at < start; at += itemLength) {
    const length = content.readUInt32LE(at + nameLength);
    items.push({ name: content.subarray(at, at + nameLength), offset, length });
    offset += length;
    if (length < 1 || offset > unpacked) throw corrupt("items are longer than the payload");
  }
  if (offset !== unpacked) throw corrupt("items are shorter than the payload");
  const body = content.subarray(start);
  const payload = codec === 0 ? body : decompress(body, unpacked, into);
  if (payload?.length !== unpacked) throw corrupt(`the payload does not unpack to ${unpacked} bytes`);
  return { kind: kind === 0 ? "chunk" : "node", items, payload };
}
