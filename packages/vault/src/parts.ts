import type { Clock } from "@godwit/core";
import type { VaultIndex } from "./index/vault-index.ts";
import type { KeyRing } from "./keys/ring.ts";
import type { BlobStore } from "./store/blob-store.ts";
import type { Nodes, PackCiphers } from "./tree/nodes.ts";
import { workerKeys, type WorkerSetup } from "./work/protocol.ts";

/** How hard and how large the vault works; nothing here is part of the format. */
export interface Tuning {
  /** Worker threads; 0 does all on the calling thread. */
  readonly threads: number;
  /** zstd's, 1 to 19. */
  readonly level: number;
  readonly packBytes: number;
  readonly recordBytes: number;
  /** New chunks after which a batch is closed and its index written. */
  readonly batchEntries: number;
}

export const defaultTuning: Tuning = { threads: 2, level: 1, packBytes: 16 << 20, recordBytes: 256 << 10, batchEntries: 1 << 17 };

export type Compression = "fast" | "small";

/**
 * The tuning for how small new chunks should be stored. `small` takes about half as much CPU time again for some 7 % fewer
 * bytes of a file system (of a database's pages it may take more); as its records are four times as large, reads here and
 * there of a mapped point unpack four times as much.
 */
export const compressions: Readonly<Record<Compression, Partial<Tuning>>> = {
  fast: {},
  small: { level: 3, recordBytes: 1 << 20 },
};

/** What every operation on an opened vault works with. */
export interface VaultParts {
  readonly store: BlobStore;
  readonly keys: KeyRing;
  readonly index: VaultIndex;
  readonly ciphers: PackCiphers;
  readonly nodes: Nodes;
  readonly clock: Clock;
  readonly tuning: Tuning;
}

export function workerSetup({ keys, tuning }: Pick<VaultParts, "keys" | "tuning">): WorkerSetup {
  const { level, packBytes, recordBytes } = tuning;
  return { ...workerKeys(keys), level, packBytes, recordBytes };
}
