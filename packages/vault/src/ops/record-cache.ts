import type { RecordPlace } from "../format/objects.ts";
import { MemoryPool } from "../work/memory.ts";
import type { OpenedRecord } from "../work/pool.ts";

/** Room for a record of our writers, as its frame and unpacked. */
const usualBytes = (256 + 16) << 10;

/** A record that is open, or about to be. */
export interface Held {
  readonly opening: Promise<OpenedRecord>;
  /** Once it is open. */
  opened: OpenedRecord | undefined;
  /** Readers that wait for it or read from it. */
  users: number;
  evicted: boolean;
}

interface Entry extends Held {
  readonly key: string;
  memory: SharedArrayBuffer | undefined;
  bytes: number;
}

type Opener = (place: RecordPlace, take: (bytes: number) => SharedArrayBuffer) => Promise<OpenedRecord>;

/** Records of packs, unpacked: opened once for all who ask at a time, and kept while there is room, the ones used last longest. */
export class RecordCache {
  readonly #open: Opener;
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Entry>();
  readonly #memory = new MemoryPool(usualBytes);
  #bytes = 0;

  constructor(open: Opener, maxBytes: number) {
    this.#open = open;
    this.#maxBytes = maxBytes;
  }

  /** The caller is a user of it until it calls {@link leave}. */
  hold(place: RecordPlace): Held {
    const key = `${place.pack}/${place.offset}`;
    const entry = this.#entries.get(key) ?? this.#start(place, key);
    this.use(entry);
    return entry;
  }

  /** One more user of what is held and not evicted. */
  use(held: Held): void {
    const entry = held as Entry;
    this.#entries.delete(entry.key);
    this.#entries.set(entry.key, entry);
    entry.users += 1;
  }

  leave(held: Held): void {
    held.users -= 1;
    this.#release(held as Entry);
  }

  clear(): void {
    for (const entry of this.#entries.values()) entry.evicted = true;
    this.#entries.clear();
    this.#bytes = 0;
  }

  #start(place: RecordPlace, key: string): Entry {
    let memory: SharedArrayBuffer | undefined;
    const opening = this.#open(place, (bytes) => (memory = this.#memory.take(bytes)));
    const entry: Entry = { key, opening, opened: undefined, memory: undefined, bytes: 0, users: 0, evicted: false };
    const settled = (opened: OpenedRecord | undefined): void => {
      entry.opened = opened;
      entry.memory = memory;
      if (!opened || entry.evicted) this.#evict(entry);
      else this.#bytes += entry.bytes = Math.max(opened.payload.length, memory?.byteLength ?? 0);
      this.#shrink();
    };
    opening.then(settled, () => settled(undefined));
    return entry;
  }

  #shrink(): void {
    for (const entry of this.#entries.values()) {
      if (this.#bytes <= this.#maxBytes) return;
      if (entry.bytes > 0) this.#evict(entry);
    }
  }

  #evict(entry: Entry): void {
    if (this.#entries.get(entry.key) === entry) {
      this.#entries.delete(entry.key);
      this.#bytes -= entry.bytes;
    }
    entry.evicted = true;
    this.#release(entry);
  }

  /** Its memory is for others when it is not kept and nobody reads from it any more. */
  #release(entry: Entry): void {
    if (!entry.evicted || entry.users > 0 || !entry.memory) return;
    this.#memory.give(entry.memory);
    entry.memory = undefined;
  }
}
