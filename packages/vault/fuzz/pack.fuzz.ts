import { PackBuilder, parseTable, parseTrailer, trailerLength } from "../src/format/pack.ts";
import { headerLength, ObjectCipher, parseHeader, tagLength } from "../src/format/envelope.ts";
import { feed } from "./support.ts";

const key = new Uint8Array(32).fill(3);
const builder = new PackBuilder("data", "0123456789abcdef0000", { epoch: 1, key }, new Uint8Array(64 << 10));
for (let i = 1; i < 9; i += 1) builder.add([{ name: new Uint8Array(24).fill(i), length: 40 * i }], new Uint8Array(40 * i).fill(i), 1);
const pack = builder.finish();
const whole = Buffer.from(pack.buffer.subarray(0, pack.length));
const cipher = new ObjectCipher(key, whole.subarray(0, headerLength), pack.name);
const table = cipher.open(whole.subarray(pack.tableOffset, pack.tableOffset + pack.tableLength), pack.tableOffset);

/** A pack's header, trailer and table: what is accepted lies inside the pack. */
export default async function fuzz(options: { seconds: number; seed: number }): Promise<{ cases: number }> {
  return await feed(options, [table, whole.subarray(-trailerLength), whole], (bytes, random) => {
    if (random(3) === 0) parseHeader(bytes, "PACK", "a fuzzed pack");
    const end = parseTrailer(bytes.subarray(-trailerLength), whole.length, "a fuzzed pack");
    if (end.offset + end.length + trailerLength !== whole.length) throw new Error("the table lies outside");
  }).then(async ({ cases }) => {
    const tables = await feed(options, [table], (bytes) => {
      for (const { offset, length, items } of parseTable(bytes, pack.tableOffset, "a fuzzed pack")) {
        if (offset < headerLength || length <= tagLength || offset + length > pack.tableOffset) throw new Error("a record lies outside");
        if (items.length < 1) throw new Error("a record without items");
      }
    });
    return { cases: cases + tables.cases };
  });
}
