import { randomBytes } from "node:crypto";
import { isUnreadable } from "../errors.ts";
import { limits, objectName, type RecordPlace } from "../format/objects.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";

/** A pack's damage. */
export interface Hurt {
  /** The object's name. */
  readonly pack: string;
  /** Offsets of the records that cannot be read. */
  readonly records: readonly number[];
  /** Nothing of the pack can be read. */
  readonly whole: boolean;
}

/** The quarantine: records that verification found damaged; docs/formats/vault.md, section 8. */
export class HurtRecords {
  #packs = new Map<string, Hurt>();
  #read = new Set<string>();

  get any(): boolean {
    return this.#packs.size > 0;
  }

  get all(): readonly Hurt[] {
    return [...this.#packs.values()];
  }

  has({ pack, offset }: Pick<RecordPlace, "pack" | "offset">): boolean {
    const hurt = this.#packs.get(pack);
    return hurt !== undefined && (hurt.whole || hurt.records.includes(offset));
  }

  async refresh(store: BlobStore, keys: KeyRing, signal: AbortSignal): Promise<void> {
    const seen = new Set<string>();
    for await (const { name } of store.list("hurt/", { signal })) seen.add(name);
    // Several marks may be about one pack: when one went, what the others say is read again. Until that is known, nothing is forgotten.
    const again = [...this.#read].some((name) => !seen.has(name));
    const packs = again ? new Map<string, Hurt>() : this.#packs;
    for (const name of seen) {
      if (!again && this.#read.has(name)) continue;
      try {
        const json = keys.openJson(await store.get(name, { signal, maxBytes: limits.jsonBytes }), "HURT", name);
        add(packs, parseHurt(json));
      } catch (error) {
        if (!isUnreadable(error) && !isNotFound(error)) throw error;
      }
    }
    this.#packs = packs;
    this.#read = seen;
  }

  /** Writes a mark, durable when it resolves; nothing when all of it was known. */
  async mark(store: BlobStore, keys: KeyRing, hurt: Hurt, mark: { readonly time: number; readonly signal: AbortSignal }): Promise<void> {
    const known = this.#packs.get(hurt.pack);
    if (known && (known.whole || (!hurt.whole && hurt.records.every((offset) => known.records.includes(offset))))) return;
    const name = objectName.hurt(hurt.pack.split("/")[2]!, randomBytes(8).toString("hex"));
    const object = keys.sealJson("HURT", name, { ...hurt, time: new Date(mark.time).toISOString() });
    await store.put(name, [object], { signal: mark.signal });
    this.#read.add(name);
    add(this.#packs, hurt);
  }

  /** Remembers damage without writing it down. */
  note(hurt: Hurt): void {
    add(this.#packs, hurt);
  }
}

function add(packs: Map<string, Hurt>, hurt: Hurt): void {
  const known = packs.get(hurt.pack);
  const records = [...new Set([...(known?.records ?? []), ...hurt.records])];
  packs.set(hurt.pack, { pack: hurt.pack, records, whole: hurt.whole || known?.whole === true });
}

function parseHurt(json: unknown): Hurt {
  const { pack, records, whole } = (json ?? {}) as Record<string, unknown>;
  return {
    pack: typeof pack === "string" ? pack : "",
    records: Array.isArray(records) ? records.filter((offset) => typeof offset === "number") : [],
    whole: whole === true,
  };
}
