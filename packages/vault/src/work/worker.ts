/** One of the threads that do the heavy work: naming, compressing, sealing, opening. */
import { parentPort, workerData } from "node:worker_threads";
import { VaultError } from "../errors.ts";
import { ObjectCipher, parseHeader } from "../format/envelope.ts";
import { isZero, Namer, nameLength, sameName } from "../format/names.ts";
import type { FinishedPack } from "../format/pack.ts";
import { decodeRecord } from "../format/record.ts";
import type { Order, Report, WorkerSetup } from "./protocol.ts";
import { Sealer } from "./sealer.ts";

const port = parentPort!;
const setup = workerData as WorkerSetup;
const keys = new Map(setup.keys.map(({ epoch, key }) => [epoch, key]));
const namer = new Namer(setup.chunkKey);
const held = new Map<number, { memory: SharedArrayBuffer; length: number; names: Uint8Array }>();
const ciphers = new Map<string, ObjectCipher>();
const sealer = new Sealer({
  kind: "data",
  key: setup.current,
  level: setup.level,
  packBytes: setup.packBytes,
  recordBytes: setup.recordBytes,
  onPack: sendPack,
});

function report(message: Report, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function sendPack({ name, buffer, length, tableOffset, tableLength, entries }: FinishedPack): void {
  report({ type: "pack", name, buffer: buffer.buffer, length, tableOffset, tableLength, entries }, [buffer.buffer, entries.buffer]);
}

function hash({ id, memory, length, base, keep }: Extract<Order, { type: "hash" }>): void {
  const count = Math.ceil(length / setup.grid);
  const names = new Uint8Array(count * nameLength);
  let same = true;
  for (let i = 0; i < count; i += 1) {
    const content = new Uint8Array(memory, i * setup.grid, Math.min(setup.grid, length - i * setup.grid));
    if (!isZero(content)) names.set(namer.name(content), i * nameLength);
    same &&= base !== undefined && sameName(names, i * nameLength, base, i * nameLength);
  }
  const kept = keep && !same;
  if (kept) held.set(id, { memory, length, names });
  report({ type: "hashed", id, names, kept });
}

function store({ id, wanted }: Extract<Order, { type: "store" }>): void {
  const { memory, length, names } = held.get(id)!;
  held.delete(id);
  for (let i = 0; i < wanted.length; i += 1) {
    if (wanted[i] === 0) continue;
    const content = new Uint8Array(memory, i * setup.grid, Math.min(setup.grid, length - i * setup.grid));
    sealer.add(names.subarray(i * nameLength, (i + 1) * nameLength), content);
  }
  report({ type: "stored", id });
}

function cipherOf(pack: string, header: Uint8Array): ObjectCipher {
  const known = ciphers.get(pack);
  if (known) return known;
  if (ciphers.size >= 256) ciphers.clear();
  const key = keys.get(parseHeader(header, "PACK", pack).epoch);
  if (!key) throw new VaultError("locked", `${pack} is sealed with an epoch that this slot was not granted`);
  const cipher = new ObjectCipher(key, header, pack);
  ciphers.set(pack, cipher);
  return cipher;
}

function open({ id, memory, length, header, pack, offset, check }: Extract<Order, { type: "open" }>): void {
  const content = cipherOf(pack, header).open(new Uint8Array(memory, 0, length), offset);
  const { kind, items, payload } = decodeRecord(content, pack);
  if (kind !== "chunk") throw new VaultError("corrupt", `${pack} holds nodes where chunks should be`, { object: pack });
  const names = new Uint8Array(items.length * nameLength);
  items.forEach((item, i) => names.set(item.name, i * nameLength));
  for (const item of check ? items : []) {
    if (!sameName(namer.name(payload.subarray(item.offset, item.offset + item.length)), 0, item.name, 0)) {
      throw new VaultError("corrupt", `${pack} holds a chunk at offset ${offset} whose content is not what its name says`, {
        object: pack,
      });
    }
  }
  const lengths = Uint32Array.from(items, (item) => item.length);
  const opened = { type: "opened", id, length: payload.length, names, lengths } as const;
  if (payload.length <= memory.byteLength) {
    new Uint8Array(memory).set(payload);
    report(opened);
  } else {
    const own = new Uint8Array(payload).buffer;
    report({ ...opened, payload: own }, [own]);
  }
}

function obey(order: Order): void {
  switch (order.type) {
    case "hash":
      return hash(order);
    case "store":
      return store(order);
    case "open":
      return open(order);
    case "batch":
      return sealer.begin(order.batch);
    case "spare":
      return sealer.spare(order.buffer);
    case "flush":
      sealer.flush();
      return report({ type: "flushed", id: order.id });
  }
}

port.on("message", (order: Order) => {
  try {
    obey(order);
  } catch (error) {
    const id = "id" in order ? order.id : -1;
    report({
      type: "failed",
      id,
      kind: error instanceof VaultError ? error.kind : "",
      message: error instanceof VaultError ? error.message : String((error as Error).stack),
    });
  }
});
