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
  /** Name the chunks of a run that starts on the grid. With `keep`, a run that differs from `base` awaits a `store`. */
  | {
      readonly type: "hash";
      readonly id: number;
      readonly memory: SharedArrayBuffer;
      readonly length: number;
      readonly base?: Uint8Array;
      readonly keep: boolean;
    }
  /** Store the chunks of a hashed run whose flag is set. */
  | { readonly type: "store"; readonly id: number; readonly wanted: Uint8Array }
  | { readonly type: "batch"; readonly batch: string }
  | { readonly type: "flush"; readonly id: number }
  | { readonly type: "spare"; readonly buffer: ArrayBuffer }
  /** Open the record whose frame is in `memory`, and put its payload there; with `check`, see that chunks have their names. */
  | {
      readonly type: "open";
      readonly id: number;
      readonly memory: SharedArrayBuffer;
      readonly length: number;
      readonly header: Uint8Array;
      readonly pack: string;
      readonly offset: number;
      readonly check: boolean;
    };

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
  /** `kind` is empty for a fault of the program. */
  | { readonly type: "failed"; readonly id: number; readonly kind: VaultErrorKind | ""; readonly message: string };
