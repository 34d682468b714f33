import { VaultError } from "../../errors.ts";
import { hex, Namer, sameName } from "../../format/names.ts";
import { decodeRecord, type ItemKind } from "../../format/record.ts";
import type { TableRecord } from "../../format/pack.ts";
import type { VaultParts } from "../../parts.ts";
import { readFrame } from "../../tree/nodes.ts";

export interface OpenedItem {
  readonly kind: ItemKind;
  readonly name: Uint8Array;
  readonly content: Uint8Array;
}

/** Opens records of packs and gives the items that are wanted, each checked to be what its name says. */
export class ItemReader {
  readonly #parts: VaultParts;
  readonly #namers: Readonly<Record<ItemKind, Namer>>;

  constructor(parts: VaultParts) {
    this.#parts = parts;
    this.#namers = { chunk: new Namer(parts.keys.names.chunk), node: new Namer(parts.keys.names.node) };
  }

  /** Contents are valid until the next call on this thread. Throws `corrupt` or `missing`. */
  async open(
    pack: string,
    { offset, length }: TableRecord,
    wanted: (name: Uint8Array) => boolean,
    signal: AbortSignal,
  ): Promise<OpenedItem[]> {
    const cipher = await this.#parts.ciphers.of(pack, signal);
    const frame = await readFrame(this.#parts.store, { pack, offset, length }, (bytes) => new ArrayBuffer(bytes), signal);
    const { kind, items, payload } = decodeRecord(cipher.open(new Uint8Array(frame), offset), pack);
    return items
      .filter(({ name }) => wanted(name))
      .map((item) => {
        const content = payload.subarray(item.offset, item.offset + item.length);
        if (!sameName(this.#namers[kind].name(content), 0, item.name, 0)) {
          throw new VaultError("corrupt", `${pack} holds ${hex(item.name.subarray(0, 8))}… with another content`, { object: pack });
        }
        return { kind, name: item.name, content };
      });
  }
}
