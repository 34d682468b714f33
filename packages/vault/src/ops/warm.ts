import { type VaultParts, workerSetup } from "../parts.ts";
import { type SealedPack, WorkPool } from "../work/pool.ts";

type OnPack = (pack: SealedPack) => Promise<void>;

/** Threads that are started before a put needs them, as starting takes them a moment. The put that gets them ends them. */
export class WarmThreads implements AsyncDisposable {
  readonly #parts: VaultParts;
  readonly #pool: WorkPool;
  #onPack: OnPack | undefined;

  constructor(parts: VaultParts) {
    this.#parts = parts;
    this.#pool = new WorkPool(workerSetup(parts), {
      threads: parts.tuning.threads,
      onPack: async (pack) => await this.#onPack?.(pack),
    });
  }

  /** Undefined when they were taken already, or started with other keys than those of now. */
  take(parts: VaultParts, onPack: OnPack): WorkPool | undefined {
    if (this.#onPack || parts !== this.#parts) return undefined;
    this.#onPack = onPack;
    return this.#pool;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}
