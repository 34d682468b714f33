import { isDamage, VaultError } from "../errors.ts";
import { hex, nameLength, sameName } from "../format/names.ts";
import type { RecordPlace } from "../format/objects.ts";
import type { VaultParts } from "../parts.ts";
import { asMissing, readFrame } from "../tree/nodes.ts";
import { StoreError } from "../store/blob-store.ts";
import type { OpenedRecord, WorkPool } from "../work/pool.ts";
import type { Room } from "../work/protocol.ts";

export interface OpenRecordOptions {
  readonly signal: AbortSignal;
  /** Shared memory of at least so many bytes, for the frame; fresh where not given. */
  readonly take?: (bytes: number) => SharedArrayBuffer;
  /** Where the opened record will lie; in the frame's place where not given. */
  readonly into?: Room;
  /** See that each chunk has the name that it goes by, and not just that its seal is whole. */
  readonly check?: boolean;
}

/** Reads and opens a record. Throws `corrupt` or `missing`. */
export async function openRecord(parts: VaultParts, pool: WorkPool, place: RecordPlace, options: OpenRecordOptions): Promise<OpenedRecord> {
  const { signal, take = freshMemory, check = false } = options;
  try {
    const both = [parts.ciphers.header(place.pack, signal), readFrame(parts.store, place, take, signal)] as const;
    // Nobody may get the memory back while it is still being read into.
    await Promise.allSettled(both);
    const [header, memory] = await Promise.all(both);
    const { offset: start, length } = place;
    const room = options.into ?? { memory, at: 0, bytes: memory.byteLength };
    return await pool.open(place, { memory, start, length, header }, room, { check });
  } catch (error) {
    throw error instanceof StoreError ? asMissing(error, place.pack) : error;
  }
}

/** Room for a frame, and mostly for what it unpacks to. */
function freshMemory(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(Math.max(bytes, 256 << 10));
}

/** The chunk's bytes in an opened record; undefined when it is not there. */
export function chunkIn(record: OpenedRecord, names: Uint8Array, at: number): { start: number; length: number } | undefined {
  let start = 0;
  for (let i = 0; i < record.lengths.length; i += 1) {
    const length = record.lengths[i]!;
    if (sameName(record.names, i * nameLength, names, at)) return { start, length };
    start += length;
  }
  return undefined;
}

/** One chunk, from any place that has it whole. `failure` is what the first place failed with. */
export async function fetchElsewhere(
  parts: VaultParts,
  pool: WorkPool,
  name: Uint8Array,
  failure: unknown,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const since = parts.index.generation;
  const known = await fetchAnywhere(parts, pool, name, signal);
  if (known) return known;
  // Gc may have moved it since the index was read.
  const moved = (await parts.index.renew(signal, since)) ? await fetchAnywhere(parts, pool, name, signal) : undefined;
  if (moved) return moved;
  throw failure ?? new VaultError("corrupt", `chunk ${hex(name.subarray(0, 8))}… is not where the index says`);
}

async function fetchAnywhere(parts: VaultParts, pool: WorkPool, name: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
  for await (const place of parts.index.places(name, signal)) {
    try {
      const record = await openRecord(parts, pool, place, { signal });
      const found = chunkIn(record, name, 0);
      if (found) return record.payload.subarray(found.start, found.start + found.length);
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }
  return undefined;
}
