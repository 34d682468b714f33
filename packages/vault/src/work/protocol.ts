import type { VaultErrorKind } from "../errors.ts";
import type { EpochKey, KeyRing } from "../keys/ring.ts";

/** What a worker thread works with: the first that it is sent. */
export interface WorkerSetup {
  readonly keys: readonly EpochKey[];
  readonly current: EpochKey;
  readonly chunkKey: Uint8Array;
  readonly grid: number;
  readonly level: number;
  readonly packBytes: number;
  readonly recordBytes: number;
}

export function workerKeys(keys: KeyRing): Pick<WorkerSetup, "keys" | "current" | "chunkKey" | "grid"> {
  return {
    keys: keys.epochs.map((epoch) => ({ epoch, key: keys.keyOf(epoch) })),
    current: keys.current,
    chunkKey: keys.names.chunk,
    grid: keys.grid,
  };
}

/**
 * To a worker. Bytes of disks are in shared memory, which is the worker's until it reports: nothing is
 * copied, and nothing left for the garbage collector.
 */
export type Order =
  /**
   * Name the chunks of a run that starts on the grid, which is in the memory, or is read into it from a file that the sender
   * has open. With `keep`, a run that differs from `base` awaits a `store`.
   */
  | {
      readonly type: "hash";
      readonly id: number;
      readonly memory: SharedArrayBuffer;
      readonly length: number;
      readonly from?: FilePlace;
      readonly base?: Uint8Array;
      readonly keep: boolean;
    }
  /** Store the chunks of a hashed run whose flag is set. */
  | { readonly type: "store"; readonly id: number; readonly wanted: Uint8Array }
  | { readonly type: "batch"; readonly batch: string }
  | { readonly type: "flush"; readonly id: number }
  | { readonly type: "spare"; readonly buffer: ArrayBuffer }
  /**
   * Open a record and put its payload into `into`, or from the start of the memory that its frame is in; with `check`, see
   * that chunks have their names.
   */
  | {
      readonly type: "open";
      readonly id: number;
      readonly pack: string;
      readonly from: PackSource;
      readonly offset: number;
      readonly length: number;
      readonly into: Room;
      readonly check: boolean;
    }
  | CarryOrder
  /** Read a part of a file and tell which of its chunks, from the grid on, do not have these names. */
  | {
      readonly type: "compare";
      readonly id: number;
      readonly fd: number;
      readonly offset: number;
      readonly length: number;
      readonly names: Uint8Array;
    };

/**
 * Open records of one pack, and write what is wanted of them to a file that the sender has open: without a
 * trip to the main thread, and without memory that has to travel.
 */
export interface CarryOrder {
  readonly type: "carry";
  readonly id: number;
  readonly pack: string;
  readonly from: PackSource;
  /** Each with the number of chunks that are wanted of it. */
  readonly records: readonly { readonly offset: number; readonly length: number; readonly count: number }[];
  /** Of the chunks wanted, record by record: 24 bytes each, and their numbers on the disk. */
  readonly names: Uint8Array;
  readonly chunks: readonly number[];
  readonly to: { readonly fd: number; readonly size: number };
}

/** A pack as a file, or a part of one in memory: so many bytes from offset `start` of the pack. */
export type PackSource =
  | { readonly path: string }
  | { readonly memory: SharedArrayBuffer; readonly start: number; readonly length: number; readonly header: Uint8Array };

/** A place in a file that the sender has open. */
export interface FilePlace {
  readonly fd: number;
  readonly offset: number;
}

/** A part of shared memory. */
export interface Room {
  readonly memory: SharedArrayBuffer;
  readonly at: number;
  readonly bytes: number;
}

/** A chunk that was not written, by its place among those wanted. `kind` is empty where the file could not be read. */
export interface LostChunk {
  readonly index: number;
  readonly kind: VaultErrorKind | "";
  readonly message: string;
}

export type Report =
  | { readonly type: "hashed"; readonly id: number; readonly names: Uint8Array; readonly kept: boolean }
  | { readonly type: "stored"; readonly id: number }
  | { readonly type: "flushed"; readonly id: number }
  | {
      readonly type: "opened";
      readonly id: number;
      readonly length: number;
      /** Only when it did not fit into the memory. */
      readonly payload?: ArrayBuffer;
      /** 24 bytes each. */
      readonly names: Uint8Array;
      readonly lengths: Uint32Array;
    }
  | {
      readonly type: "pack";
      readonly name: string;
      readonly buffer: ArrayBuffer;
      readonly length: number;
      readonly tableOffset: number;
      readonly tableLength: number;
      readonly entries: Uint8Array<ArrayBuffer>;
    }
  | { readonly type: "carried"; readonly id: number; readonly writtenBytes: number; readonly lost: readonly LostChunk[] }
  /** For each chunk, 1 where it differs. */
  | { readonly type: "compared"; readonly id: number; readonly differs: Uint8Array }
  /** `kind` is empty for a fault of the program, or of a file: then there is a `code`, and the `offset` of a write. */
  | {
      readonly type: "failed";
      readonly id: number;
      readonly kind: VaultErrorKind | "";
      readonly message: string;
      readonly code?: string;
      readonly offset?: number;
    };
