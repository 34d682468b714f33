import type { RecordPlace } from "../format/objects.ts";
import { Rooms } from "../work/memory.ts";
import type { OpenedRecord } from "../work/pool.ts";
import type { Room } from "../work/protocol.ts";

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
  room: Room | undefined;
  bytes: number;
}

/** Opens a record, into the room where it fits. */
type Opener = (place: RecordPlace, room: Room) => Promise<OpenedRecord>;

/** Records of packs, unpacked: opened once for all who ask at a time, and kept while there is room, the ones used last longest. */
export class RecordCache {
  readonly #open: Opener;
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Entry>();
  readonly #rooms = new Rooms();
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
    this.#entries.clear();
    this.#bytes = 0;
  }

  #start(place: RecordPlace, key: string): Entry {
    const room = this.#rooms.take();
    const opening = this.#open(place, room);
    const entry: Entry = { key, opening, opened: undefined, room, bytes: 0, users: 0, evicted: false };
    const settled = (opened: OpenedRecord | undefined): void => {
      entry.opened = opened;
      if (opened && opened.payload.buffer !== room.memory) {
        // It did not fit.
        entry.room = undefined;
        this.#rooms.give(room);
      }
      if (!opened || entry.evicted) this.#evict(entry);
      else this.#bytes += entry.bytes = entry.room?.bytes ?? opened.payload.length;
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
    if (!entry.evicted || entry.users > 0 || !entry.room) return;
    this.#rooms.give(entry.room);
    entry.room = undefined;
  }
}
