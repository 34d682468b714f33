import { abortReason, type Clock, systemClock, withDeadline } from "@godwit/core";
import { type BlobInfo, type BlobStore, isRetryable, type PutOptions, StoreError } from "./blob-store.ts";
import { StoreDecorator } from "./store-decorator.ts";

export interface RetryOptions {
  /** How long a call is tried again before its last error stands, ms; 10 minutes where not given. */
  readonly patienceMs?: number;
  /** The first pause, ms; doubled each time. Of each, a random half to whole is waited. */
  readonly firstPauseMs?: number;
  readonly longestPauseMs?: number;
  /** After how long an attempt counts as lost, ms, its bytes at 64 KiB/s aside. */
  readonly attemptMs?: number;
  readonly clock?: Clock;
  /** From 0 to 1. */
  readonly random?: () => number;
  /** Told before each pause. */
  readonly onRetry?: (retry: {
    readonly what: string;
    readonly attempt: number;
    readonly pauseMs: number;
    readonly error: unknown;
  }) => void;
}

const slowestBytesPerMs = 64 * 1.024;

/** Does something again while it fails with `unavailable`, as {@link RetryOptions} say. Starts nothing after an abort. */
export class Retrier {
  readonly #options: Required<Omit<RetryOptions, "onRetry">> & Pick<RetryOptions, "onRetry">;

  constructor(options: RetryOptions = {}) {
    const { patienceMs = 600_000, firstPauseMs = 200, longestPauseMs = 20_000, attemptMs = 60_000 } = options;
    const { clock = systemClock, random = Math.random, onRetry } = options;
    this.#options = { patienceMs, firstPauseMs, longestPauseMs, attemptMs, clock, random, ...(onRetry ? { onRetry } : {}) };
  }

  /** `body` must honour its signal; it may move up to `bytes`. */
  async run<T>(what: string, bytes: number, signal: AbortSignal, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const patience = this.patience();
    for (;;) {
      try {
        return await this.attempt(what, bytes, signal, body);
      } catch (error) {
        await patience.pause(what, error, signal);
      }
    }
  }

  /** One attempt, which fails with `unavailable` when it takes too long. */
  async attempt<T>(what: string, bytes: number, signal: AbortSignal, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const ms = this.#options.attemptMs + bytes / slowestBytesPerMs;
    return await withDeadline(ms, () => noAnswer(what, ms), signal, body);
  }

  /** Fires when nothing was heard for as long as an attempt may take, its pauses aside. */
  silence(what: string): Silence {
    const ms = this.#options.attemptMs;
    const controller = new AbortController();
    const start = (): NodeJS.Timeout => setTimeout(() => controller.abort(noAnswer(what, ms)), ms);
    let timer = start();
    return {
      signal: controller.signal,
      pause: () => clearTimeout(timer),
      resume: () => (timer = start()),
      [Symbol.dispose]: () => clearTimeout(timer),
    };
  }

  patience(): Patience {
    const { patienceMs, firstPauseMs, longestPauseMs, clock, random, onRetry } = this.#options;
    const started = clock.monotonic();
    let attempt = 0;
    return {
      pause: async (what, error, signal) => {
        if (signal.aborted) throw abortReason(signal);
        if (!isRetryable(error)) throw error;
        attempt += 1;
        const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1)) * (0.5 + random() / 2);
        const waited = clock.monotonic() - started;
        if (waited + pauseMs > patienceMs) {
          const message = `gave up after trying to ${what} ${attempt} times in ${Math.round(waited / 1000)} s`;
          throw new StoreError("unavailable", message, { attempts: attempt }, { cause: error });
        }
        onRetry?.({ what, attempt, pauseMs, error });
        await clock.sleep(pauseMs, { signal });
      },
    };
  }
}

interface Silence extends Disposable {
  readonly signal: AbortSignal;
  pause(): void;
  resume(): void;
}

function noAnswer(what: string, ms: number): StoreError {
  return new StoreError("unavailable", `cannot ${what}: no answer in ${Math.ceil(ms / 1000)} s`);
}

/** What is left of a call's patience. */
export interface Patience {
  /** Waits before the next attempt; throws `error` when it is none that passes, and `unavailable` when patience is over. */
  pause(what: string, error: unknown, signal: AbortSignal): Promise<void>;
}

/**
 * Tries calls again that failed with `unavailable` or were not answered in time. A `put` whose answer was lost
 * resolves to `exists` at the next attempt, as the port promises: who must know whose bytes stand compares
 * them. A listing goes on after the last object it gave.
 */
export class RetryStore extends StoreDecorator {
  readonly #retrier: Retrier;

  constructor(inner: BlobStore, options: RetryOptions = {}) {
    super(inner);
    this.#retrier = new Retrier(options);
  }

  override async put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const attempt = (signal: AbortSignal): Promise<"created" | "exists"> => this.inner.put(name, parts, { ...options, signal });
    return await this.#retrier.run(`store ${name}`, bytes, options.signal, attempt);
  }

  override async get(name: string, { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    return await this.#retrier.run(`read ${name}`, maxBytes, signal, (signal) => this.inner.get(name, { signal, maxBytes }));
  }

  override async read(name: string, offset: number, into: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    return await this.#retrier.run(`read ${name}`, into.length, signal, (signal) => this.inner.read(name, offset, into, { signal }));
  }

  override async stat(name: string, { signal }: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    return await this.#retrier.run(`look at ${name}`, 0, signal, (signal) => this.inner.stat(name, { signal }));
  }

  override async *list(
    prefix: string,
    { signal, after }: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    const what = `list ${prefix}`;
    let last = after;
    let patience = this.#retrier.patience();
    for (;;) {
      signal.throwIfAborted();
      using silence = this.#retrier.silence(what);
      const options = { signal: AbortSignal.any([signal, silence.signal]), ...(last === undefined ? {} : { after: last }) };
      try {
        for await (const info of this.inner.list(prefix, options)) {
          last = info.name;
          patience = this.#retrier.patience();
          silence.pause();
          yield info;
          silence.resume();
        }
        return;
      } catch (error) {
        await patience.pause(what, error, signal);
      }
    }
  }

  override async delete(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#retrier.run(`delete ${name}`, 0, signal, (signal) => this.inner.delete(name, { signal }));
  }

  override async extendRetention(name: string, until: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await this.#retrier.run(`lock ${name}`, 0, signal, (signal) => this.inner.extendRetention(name, until, { signal }));
  }
}
