import { headerLength, ObjectCipher } from "../src/format/envelope.ts";
import {
  blocksOf,
  encodeSegment,
  entryLength,
  findEntry,
  mayContain,
  parseSegmentHead,
  parseSegmentPrefix,
  segmentPrefix,
} from "../src/format/segment.ts";
import { feed, randomOf } from "./support.ts";

const key = new Uint8Array(32).fill(3);
const batch = "0123456789abcdef0000";
const packs = [{ name: `data/${batch}/${"ab".repeat(16)}`, tableOffset: 100, tableLength: 60 }];
const entries = new Uint8Array(700 * entryLength);
const random = randomOf(1);
for (let i = 0; i < entries.length; i += 1) entries[i] = i % entryLength < 24 ? random(256) : 0;
const segment = Buffer.from(encodeSegment({ epoch: 1, key }, batch, packs, entries));
const cipher = new ObjectCipher(key, segment.subarray(0, headerLength), `index/${batch}`);
const frameLength = parseSegmentPrefix(segment, "index");
const head = cipher.open(segment.subarray(segmentPrefix, segmentPrefix + frameLength), segmentPrefix);

/** A segment's head: lookups in what is accepted stay inside it. */
export default async function fuzz(options: { seconds: number; seed: number }): Promise<{ cases: number }> {
  const name = new Uint8Array(24);
  return await feed(options, [head, segment.subarray(0, segmentPrefix)], (bytes, random) => {
    parseSegmentPrefix(Buffer.concat([bytes, Buffer.alloc(segmentPrefix)]).subarray(0, segmentPrefix), "index");
    const parsed = parseSegmentHead(bytes, "index");
    for (let i = 0; i < name.length; i += 1) name[i] = random(256);
    mayContain(parsed, name, 0);
    const { first, last } = blocksOf(parsed, name);
    if (first < 0 || last >= Math.max(1, parsed.fences.length / 8)) throw new Error("a block outside the segment");
    findEntry(bytes, name);
  });
}
