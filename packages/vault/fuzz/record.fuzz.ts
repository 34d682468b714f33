import { decodeRecord, encodeRecord } from "../src/format/record.ts";
import { feed } from "./support.ts";

const record = (lengths: readonly number[], fill: number): Buffer => {
  const items = lengths.map((length, i) => ({ name: new Uint8Array(24).fill(i + 1), length }));
  const payload = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0)).fill(fill);
  return Buffer.concat(encodeRecord("chunk", items, payload, 1));
};
/** Small when packed, four megabytes when not: what a bomb is made of. */
const samples = [
  record([100], 7),
  record([10, 20, 30], 7),
  Buffer.concat([record([4 << 20], 0)]),
  record(Array(256).fill(5) as number[], 9),
];

/** Records: every item lies in the payload, and the payload is as long as was said. */
export default async function fuzz(options: { seconds: number; seed: number }): Promise<{ cases: number }> {
  return await feed(options, samples, (bytes) => {
    const { items, payload } = decodeRecord(bytes, "a fuzzed pack");
    let end = 0;
    for (const { offset, length } of items) {
      if (offset !== end || length < 1) throw new Error("an item is not where the one before ends");
      end += length;
    }
    if (end !== payload.length) throw new Error("the items do not fill the payload");
  });
}
