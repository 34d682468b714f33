import { Worker } from "node:worker_threads";
import { defaultTuning } from "../parts.ts";

/** A small nursery: what compression and sealing leave behind is collected after some megabytes, not some hundred. */
const resourceLimits = { maxYoungGenerationSizeMb: 1 };
const file = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);
const ready: Worker[] = [];

const startThread = (): Worker => new Worker(file, { name: "vault", resourceLimits });

/**
 * Starts worker threads for the next pool of this process, for who will soon need one: they start on one core while
 * another works a passphrase out. They hold no secret, and do not keep the process alive.
 */
export function prepareThreads(count: number = defaultTuning.threads): void {
  while (ready.length < count) {
    const thread = startThread();
    const gone = (): void => void (ready.includes(thread) && ready.splice(ready.indexOf(thread), 1));
    thread.on("error", gone).on("exit", gone);
    thread.unref();
    ready.push(thread);
  }
}

/** Threads that were prepared, and that nobody has taken yet. */
export function preparedThreads(): number {
  return ready.length;
}

/** A thread that was prepared, or else a new one. */
export function takeThread(): Worker {
  const thread = ready.shift() ?? startThread();
  thread.ref();
  return thread;
}
