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
const held = new Map<number, { buffer: ArrayBuffer; length: number; names: Uint8Array }>();
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

function hash({ id, buffer, length, base, keep }: Extract<Order, { type: "hash" }>): void {
  const count = Math.ceil(length / setup.grid);
  const names = new Uint8Array(count * nameLength);
  let same = true;
  for (let i = 0; i < count; i += 1) {
    const content = new Uint8Array(buffer, i * setup.grid, Math.min(setup.grid, length - i * setup.grid));
    if (!isZero(content)) names.set(namer.name(content), i * nameLength);
    same &&= base !== undefined && sameName(names, i * nameLength, base, i * nameLength);
  }
  if (keep && !same) {
    held.set(id, { buffer, length, names });
    report({ type: "hashed", id, names });
  } else {
    report({ type: "hashed", id, names, buffer }, [buffer]);
  }
}

function store({ id, wanted }: Extract<Order, { type: "store" }>): void {
  const { buffer, length, names } = held.get(id)!;
  held.delete(id);
  for (let i = 0; i < wanted.length; i += 1) {
    if (wanted[i] === 0) continue;
    const content = new Uint8Array(buffer, i * setup.grid, Math.min(setup.grid, length - i * setup.grid));
    sealer.add(names.subarray(i * nameLength, (i + 1) * nameLength), content);
  }
  report({ type: "stored", id, buffer }, [buffer]);
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

function open({ id, frame, header, pack, offset, check }: Extract<Order, { type: "open" }>): void {
  const { kind, items, payload } = decodeRecord(cipherOf(pack, header).open(new Uint8Array(frame), offset), pack);
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
  // A small buffer may be part of Node's pool, which must not move.
  const own = payload.length <= 64 << 10 ? Uint8Array.from(payload) : payload;
  const whole = own.buffer as ArrayBuffer;
  report({ type: "opened", id, payload: whole, start: own.byteOffset, length: own.length, names, lengths }, [whole]);
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
