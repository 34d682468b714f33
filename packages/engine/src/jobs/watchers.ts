import { type JobRecord, isFinal } from "./job.ts";

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** Called when a job's change had to be dropped, because changes of too many other jobs wait to be read. */
  readonly onDropped?: () => void;
}

/** How many jobs' changes wait for one slow watcher. */
const capacity = 1000;

/**
 * One reader of job changes. Only the newest state of each job waits to be read, so a slow reader costs no
 * more than a fast one. Ends with the final state of `only`, on abort, and with `close()`.
 */
class Watcher implements AsyncIterable<JobRecord> {
  readonly #only: string | undefined;
  readonly #onDropped: (() => void) | undefined;
  readonly #onClose: () => void;
  readonly #pending = new Map<string, JobRecord>();
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(only: string | undefined, onDropped: (() => void) | undefined, onClose: () => void) {
    this.#only = only;
    this.#onDropped = onDropped;
    this.#onClose = onClose;
  }

  offer(record: JobRecord): void {
    if (this.#closed || (this.#only !== undefined && record.id !== this.#only)) return;
    this.#pending.delete(record.id);
    if (this.#pending.size >= capacity) {
      for (const oldest of this.#pending.keys()) {
        this.#pending.delete(oldest);
        break;
      }
      this.#onDropped?.();
    }
    this.#pending.set(record.id, record);
    this.#wake?.();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<JobRecord, void, undefined> {
    try {
      for (;;) {
        for (const [id, record] of this.#pending) {
          this.#pending.delete(id);
          yield record;
          if (this.#only !== undefined && isFinal(record.state)) return;
        }
        if (this.#closed) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.close();
    }
  }
}

/** Everybody who watches jobs. */
export class Watchers {
  readonly #watchers = new Set<Watcher>();
  #closed = false;

  /** Changes from this call on, of one job or of all; `first` is what is known of it now. */
  open(only: string | undefined, options: WatchOptions, first?: JobRecord): AsyncIterable<JobRecord> {
    const { signal } = options;
    const watcher = new Watcher(only, options.onDropped, () => {
      this.#watchers.delete(watcher);
      signal.removeEventListener("abort", close);
    });
    const close = (): void => watcher.close();
    if (first) watcher.offer(first);
    this.#watchers.add(watcher);
    signal.addEventListener("abort", close, { once: true });
    if (this.#closed || signal.aborted) close();
    return watcher;
  }

  publish(record: JobRecord): void {
    for (const watcher of this.#watchers) watcher.offer(record);
  }

  /** Every watcher ends once it read what waits for it. */
  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers) watcher.close();
  }
}
