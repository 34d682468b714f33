import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Transform, type TransformCallback } from "node:stream";

export interface DelayProxy extends AsyncDisposable {
  /** Where to connect instead of the target. */
  readonly host: string;
  readonly port: number;
}

/**
 * A TCP proxy that hands every byte on `delayMs` later, each way, in order and without limiting the
 * rate: a long line. (The kernel's own means, netem, is not everywhere.) At most 16 MiB are on the line
 * at once, each way; then the sender waits.
 */
export async function startDelayProxy(options: {
  readonly target: { readonly host: string; readonly port: number };
  readonly delayMs: number;
  /** Where to listen; default 127.0.0.1. */
  readonly host?: string;
}): Promise<DelayProxy> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    // Half open: who has said all may still have a long answer on the line.
    const far = connect({ ...options.target, noDelay: true, allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.pipe(new Delay(options.delayMs)).pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        if (from.errored) to.destroy();
      });
    }
  });
  const host = options.host ?? "127.0.0.1";
  server.listen(0, host);
  await once(server, "listening");
  return {
    host,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Passes each chunk on when it is `ms` old. */
class Delay extends Transform {
  readonly #ms: number;
  readonly #timers = new Set<NodeJS.Timeout>();
  #waiting: TransformCallback | undefined;
  #held = 0;

  constructor(ms: number) {
    super();
    this.#ms = ms;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#held += chunk.length;
    this.#later(() => {
      this.#held -= chunk.length;
      this.push(chunk);
      this.#waiting?.();
      this.#waiting = undefined;
    });
    if (this.#held > 16 * 1024 * 1024) this.#waiting = done;
    else done();
  }

  override _flush(done: TransformCallback): void {
    this.#later(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    for (const timer of this.#timers) clearTimeout(timer);
    done(error);
  }

  /** Timers of equal length fire in the order in which they were set. */
  #later(then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, this.#ms);
    this.#timers.add(timer);
  }
}
