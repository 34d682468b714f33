import { fanOut, decodeNode, encodeNode } from "../src/format/node.ts";
import { nameLength } from "../src/format/names.ts";
import { parsePoint } from "../src/format/point.ts";
import { VaultError } from "../src/errors.ts";
import { parseEpoch } from "../src/keys/ring.ts";
import { makeSlot, parseSlot } from "../src/keys/slot.ts";
import { feed } from "./support.ts";

const id = "0f".repeat(16);
const disk = { name: "vda", size: 1 << 30, logicalSector: 512, physicalSector: 4096, levels: 3, root: "ab".repeat(24) };
const point = {
  id,
  name: "web1",
  time: "2026-11-24T00:00:00.000Z",
  grid: 65536,
  consistency: { level: "crash", evidence: ["x"] },
  disks: [disk],
};
const epoch = {
  vault: id,
  epoch: 2,
  previous: { epoch: 1, key: "ab".repeat(32) },
  naming: "cd".repeat(32),
  grid: 65536,
  created: point.time,
};
const slot = await makeSlot(id, { kind: "keyfile", bytes: new Uint8Array(32) }, { label: "file", now: 0 });
const node = encodeNode(1, new Uint8Array(fanOut * nameLength).fill(5))!;
const text = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  } catch (cause) {
    throw new VaultError("corrupt", "no JSON", {}, { cause });
  }
}

/** Tree nodes, and the JSON of points, epochs and slots. */
export default async function fuzz(options: { seconds: number; seed: number }): Promise<{ cases: number }> {
  const share = { ...options, seconds: options.seconds / 4 };
  const runs = [
    await feed(share, [node], (bytes) => decodeNode(bytes, 1)),
    await feed(share, [text(point)], (bytes) => parsePoint(json(bytes), id)),
    await feed(share, [text(epoch)], (bytes) => parseEpoch(json(bytes), "epoch")),
    await feed(share, [text(slot)], (bytes) => parseSlot(bytes, slot.id)),
  ];
  return { cases: runs.reduce((sum, { cases }) => sum + cases, 0) };
}
