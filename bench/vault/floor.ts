/** What reading, naming, compressing and sealing cost at least: both cores, nothing else, nothing written. */
import { createHmac, createSecretKey } from "node:crypto";
import { readSync, openSync } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import type { Extent } from "@godwit/core";
import { FileImage } from "@godwit/vault";
import { encodeHeader, headerLength, ObjectCipher } from "../../packages/vault/src/format/envelope.ts";
import { isZero } from "../../packages/vault/src/format/names.ts";
import { compress } from "../../packages/vault/src/format/zstd.ts";

const runBytes = 1 << 20;
const recordBytes = 256 << 10;
const grid = 64 << 10;
const threads = 2;

interface Share {
  readonly path: string;
  readonly runs: readonly { readonly offset: number; readonly length: number }[];
}

function work({ path, runs }: Share): void {
  const file = openSync(path, "r");
  const key = createSecretKey(Buffer.alloc(32, 1));
  const header = encodeHeader({ kind: "PACK", epoch: 1, salt: Buffer.alloc(16) });
  const cipher = new ObjectCipher(Buffer.alloc(32, 2), header, "data/floor");
  const [buffer, sealed] = [Buffer.alloc(runBytes), Buffer.alloc(2 * recordBytes)];
  for (const { offset, length } of runs) {
    const got = buffer.subarray(0, readSync(file, buffer, 0, length, offset));
    for (let at = 0; at < got.length; at += grid) {
      const chunk = got.subarray(at, at + grid);
      if (!isZero(chunk)) createHmac("sha256", key).update(chunk).digest();
    }
    for (let at = 0; at < got.length; at += recordBytes) {
      const record = got.subarray(at, at + recordBytes);
      const packed = compress(record, 1);
      cipher.seal([packed.length < record.length ? packed : record], sealed, headerLength);
    }
  }
}

/** Seconds. */
export async function floorOfPut(path: string): Promise<number> {
  await using image = await FileImage.open(path);
  const extents = image.extents({ signal: new AbortController().signal });
  const began = performance.now();
  const shares: { offset: number; length: number }[][] = Array.from({ length: threads }, () => []);
  let next = 0;
  const cut = ({ offset, length, kind }: Extent): void => {
    if (kind === "zero") return;
    for (let at = 0; at < length; at += runBytes) {
      shares[next % threads]!.push({ offset: offset + at, length: Math.min(runBytes, length - at) });
      next += 1;
    }
  };
  for await (const extent of extents) cut(extent);
  const run = (runs: Share["runs"]): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(import.meta.filename, { workerData: { path, runs } satisfies Share });
      worker.on("exit", () => resolve()).on("error", reject);
    });
  await Promise.all(shares.map(run));
  return (performance.now() - began) / 1000;
}

if (!isMainThread) work(workerData as Share);
