import { watch } from "node:fs";
import { open } from "node:fs/promises";
import { LabError } from "../error.ts";

/** What was seen of a guest from outside while it was watched. */
export interface Pauses {
  /** Records acknowledged since the watch began. */
  readonly acknowledged: number;
  /**
   * The longest time without an acknowledgement, by the clock of this process: what a client of the
   * guest would have noticed. It counts the time since the last one, too.
   */
  readonly longestGapMs: number;
  readonly watchedMs: number;
}

/** Watches a guest's acknowledgements as they arrive. Dispose to stop. */
export interface AckWatch extends AsyncDisposable {
  /** As of now. */
  pauses(): Pauses;
  /** Resolves when `count` more records are acknowledged than there were at the call. */
  next(count: number, options?: { readonly signal?: AbortSignal; readonly timeoutMs?: number }): Promise<void>;
}

/** Starts to watch the log that a guest's acknowledgements are appended to. */
export async function watchAcknowledgements(path: string): Promise<AckWatch> {
  const file = await open(path, "r");
  const started = performance.now();
  let position = (await file.stat()).size;
  let lastSeen = started;
  let longest = 0;
  let count = 0;
  let reading = Promise.resolve();
  const waiting = new Set<() => void>();
  const buffer = Buffer.alloc(65_536);

  const read = async (): Promise<void> => {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      const lines = acknowledgedLines(buffer.toString("latin1", 0, bytesRead));
      if (lines === 0) continue;
      const now = performance.now();
      longest = Math.max(longest, now - lastSeen);
      lastSeen = now;
      count += lines;
      for (const wake of waiting) wake();
    }
  };
  const watcher = watch(path, () => {
    reading = reading.then(read, read);
  });
  watcher.unref();

  return {
    pauses: () => {
      const now = performance.now();
      return { acknowledged: count, longestGapMs: Math.round(Math.max(longest, now - lastSeen)), watchedMs: Math.round(now - started) };
    },
    next: (more, options = {}) => {
      const goal = count + more;
      return waitFor(waiting, () => count >= goal, `${more} more records in ${path}`, options);
    },
    async [Symbol.asyncDispose]() {
      watcher.close();
      await reading.catch(() => undefined);
      await file.close();
    },
  };
}

/** Lines that end in this text and are no remarks; a line's end is what counts it. */
function acknowledgedLines(text: string): number {
  return text
    .split("\n")
    .slice(0, -1)
    .filter((line) => !line.startsWith("#")).length;
}

async function waitFor(
  waiting: Set<() => void>,
  done: () => boolean,
  what: string,
  options: { readonly signal?: AbortSignal; readonly timeoutMs?: number },
): Promise<void> {
  if (done()) return;
  const timeoutMs = options.timeoutMs ?? 30_000;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const wake = (): void => {
    if (done()) resolve();
  };
  const onAbort = (): void => reject(options.signal?.reason as Error);
  const timer = setTimeout(() => reject(new LabError("timeout", `${what}: not within ${timeoutMs} ms`)), timeoutMs);
  waiting.add(wake);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    options.signal?.throwIfAborted();
    await promise;
  } finally {
    clearTimeout(timer);
    waiting.delete(wake);
    options.signal?.removeEventListener("abort", onAbort);
  }
}
