import { closed } from "../error.ts";
import { type ConnectionOptions, NbdConnection } from "./connection.ts";
import type { NbdExportInfo } from "./handshake.ts";
import type { Request, StatusChunks } from "./transaction.ts";

/**
 * The connections to one export. The first must come up; the others are made beside the work and only if
 * the server says that it keeps several consistent. A server that does not take them in has just fewer.
 */
export class NbdPool {
  readonly info: NbdExportInfo;
  readonly #open: NbdConnection[];
  readonly #stop = new AbortController();
  readonly #joining: Promise<void>[];
  #closed = false;

  private constructor(first: NbdConnection, options: ConnectionOptions, count: number) {
    this.info = first.info;
    this.#open = [first];
    const extra = first.info.canMultiConn ? count - 1 : 0;
    this.#joining = Array.from({ length: extra }, () => this.#join({ ...options, signal: this.#stop.signal }));
  }

  static async open(options: ConnectionOptions, count: number): Promise<NbdPool> {
    return new NbdPool(await NbdConnection.open(options), options, count);
  }

  get size(): number {
    return this.#open.filter((connection) => connection.usable).length;
  }

  /** Sends a request on the least busy connection. */
  async submit(request: Request, signal: AbortSignal | undefined): Promise<StatusChunks> {
    let best = this.#open[0];
    for (const connection of this.#open) {
      if (connection.usable && (!best?.usable || connection.load < best.load)) best = connection;
    }
    if (!best || this.#closed) throw closed("the NBD client was closed", { export: this.info.name });
    return await best.submit(request, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stop.abort(closed("the NBD client was closed"));
    await Promise.all(this.#joining);
    await Promise.all(this.#open.map((connection) => connection.close()));
  }

  async #join(options: ConnectionOptions): Promise<void> {
    try {
      const connection = await NbdConnection.open(options);
      if (this.#closed || !sameExport(connection.info, this.info)) await connection.close();
      else this.#open.push(connection);
    } catch {
      // One connection is enough: a server that takes no second one is no error.
    }
  }
}

/** Context ids may differ between connections (proto.md); such a server is used over one only. */
function sameExport(one: NbdExportInfo, other: NbdExportInfo): boolean {
  const sameContexts = [...other.contexts].every(([name, id]) => one.contexts.get(name) === id);
  return one.size === other.size && one.readOnly === other.readOnly && one.replies === other.replies && sameContexts;
}
