import { VaultError } from "../errors.ts";
import { ObjectCipher, parseHeader } from "../format/envelope.ts";
import { isZero, Namer, nameLength, sameName } from "../format/names.ts";
import type { FinishedPack } from "../format/pack.ts";
import { Carrier } from "./carrier.ts";
import { compareFile } from "./compare.ts";
import { PackReader, pieceBytes, readWhole } from "./pack-reader.ts";
import type { Order, Report, WorkerSetup } from "./protocol.ts";
import { Sealer } from "./sealer.ts";

/** Sends a report; the buffers of `transfer` move with it. */
export type Reporter = (report: Report, transfer: readonly ArrayBuffer[]) => void;

const maxCiphers = 256;

/** Does the heavy work of one thread: naming, compressing, sealing, opening. Each order with an id is answered. */
export class Labour {
  readonly #setup: WorkerSetup;
  readonly #report: Reporter;
  readonly #keys: ReadonlyMap<number, Uint8Array>;
  readonly #namer: Namer;
  readonly #held = new Map<number, { memory: SharedArrayBuffer; length: number; names: Uint8Array }>();
  readonly #ciphers = new Map<string, ObjectCipher>();
  readonly #sealer: Sealer;
  readonly #reader: PackReader;
  readonly #carrier: Carrier;

  constructor(setup: WorkerSetup, report: Reporter) {
    this.#setup = setup;
    this.#report = report;
    this.#keys = new Map(setup.keys.map(({ epoch, key }) => [epoch, key]));
    this.#namer = new Namer(setup.chunkKey);
    const { current: key, level, packBytes, recordBytes } = setup;
    this.#reader = new PackReader((pack, header) => this.#cipherOf(pack, header));
    this.#carrier = new Carrier(setup.grid, this.#reader);
    this.#sealer = new Sealer({ kind: "data", key, level, packBytes, recordBytes, onPack: (pack) => this.#sendPack(pack) });
  }

  obey(order: Order): void {
    try {
      this.#obey(order);
    } catch (error) {
      const id = "id" in order ? order.id : -1;
      const { code, offset } = error as NodeJS.ErrnoException & { offset?: number };
      const known = error instanceof VaultError;
      const message = known || code !== undefined ? (error as Error).message : String((error as Error).stack);
      const file = { ...(code === undefined ? {} : { code }), ...(offset === undefined ? {} : { offset }) };
      this.#report({ type: "failed", id, kind: known ? error.kind : "", message, ...file }, []);
    }
  }

  #hash({ id, memory, length, from, base, keep }: Extract<Order, { type: "hash" }>): void {
    const { grid } = this.#setup;
    const count = Math.ceil(length / grid);
    const names = new Uint8Array(count * nameLength);
    const bytes = new Uint8Array(memory, 0, length);
    let there = from ? 0 : length;
    let same = true;
    for (let i = 0; i < count; i += 1) {
      const content = bytes.subarray(i * grid, (i + 1) * grid);
      if (from && there < content.byteOffset + content.length) {
        const piece = bytes.subarray(there, there + Math.max(grid, pieceBytes));
        readWhole(from.fd, piece, from.offset + there);
        there += piece.length;
      }
      if (!isZero(content)) names.set(this.#namer.name(content), i * nameLength);
      same &&= base !== undefined && sameName(names, i * nameLength, base, i * nameLength);
    }
    const kept = keep && !same;
    if (kept) this.#held.set(id, { memory, length, names });
    this.#report({ type: "hashed", id, names, kept }, []);
  }

  #store({ id, wanted }: Extract<Order, { type: "store" }>): void {
    const { memory, length, names } = this.#held.get(id)!;
    this.#held.delete(id);
    const { grid } = this.#setup;
    for (let first = 0; first < wanted.length; first += 1) {
      if (wanted[first] === 0) continue;
      let end = first + 1;
      while (end < wanted.length && wanted[end] !== 0) end += 1;
      const content = new Uint8Array(memory, first * grid, Math.min(end * grid, length) - first * grid);
      this.#sealer.addNeighbours(names.subarray(first * nameLength, end * nameLength), content, grid);
      first = end;
    }
    this.#report({ type: "stored", id }, []);
  }

  #cipherOf(pack: string, header: () => Uint8Array): ObjectCipher {
    const known = this.#ciphers.get(pack);
    if (known) return known;
    if (this.#ciphers.size >= maxCiphers) this.#ciphers.clear();
    const bytes = header();
    const key = this.#keys.get(parseHeader(bytes, "PACK", pack).epoch);
    if (!key) throw new VaultError("corrupt", `${pack} is sealed with an epoch of which there is no key`, { object: pack });
    const cipher = new ObjectCipher(key, bytes, pack);
    this.#ciphers.set(pack, cipher);
    return cipher;
  }

  #open({ id, pack, from, offset, length, into, check }: Extract<Order, { type: "open" }>): void {
    const room = new Uint8Array(into.memory, into.at, into.bytes);
    const { items, payload } = this.#reader.open({ pack, from }, { offset, length }, room);
    const names = new Uint8Array(items.length * nameLength);
    items.forEach((item, i) => names.set(item.name, i * nameLength));
    for (const item of check ? items : []) {
      if (!sameName(this.#namer.name(payload.subarray(item.offset, item.offset + item.length)), 0, item.name, 0)) {
        throw new VaultError("corrupt", `${pack} holds a chunk at offset ${offset} whose content is not what its name says`, {
          object: pack,
        });
      }
    }
    const lengths = Uint32Array.from(items, (item) => item.length);
    const opened = { type: "opened", id, length: payload.length, names, lengths } as const;
    if (payload.length <= room.length) {
      if (payload.buffer !== room.buffer) room.set(payload);
      this.#report(opened, []);
    } else {
      const own = new Uint8Array(payload).buffer;
      this.#report({ ...opened, payload: own }, [own]);
    }
  }

  #obey(order: Order): void {
    switch (order.type) {
      case "hash":
        return this.#hash(order);
      case "store":
        return this.#store(order);
      case "open":
        return this.#open(order);
      case "carry":
        return this.#report({ type: "carried", id: order.id, ...this.#carrier.carry(order) }, []);
      case "compare": {
        const differs = compareFile(order, this.#setup.grid, this.#namer);
        return this.#report({ type: "compared", id: order.id, differs }, []);
      }
      case "batch":
        return this.#sealer.begin(order.batch);
      case "spare":
        return this.#sealer.spare(order.buffer);
      case "flush":
        this.#sealer.flush();
        return this.#report({ type: "flushed", id: order.id }, []);
    }
  }

  #sendPack({ name, buffer, length, tableOffset, tableLength, entries }: FinishedPack): void {
    const report = { type: "pack", name, buffer: buffer.buffer, length, tableOffset, tableLength, entries } as const;
    this.#report(report, [buffer.buffer, entries.buffer]);
  }
}
