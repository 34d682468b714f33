import type { BlockSink, BlockSource, Extent } from "@godwit/core";
import { usage } from "../error.ts";
import { ALLOCATION, CONTEXT_ALLOCATION, CONTEXT_DIRTY_BITMAP, DIRTY } from "../protocol/constants.ts";
import type { NbdTarget } from "../uri.ts";
import { connectNbd, type NbdClient, type NbdConnectOptions } from "./client.ts";

/** A run of a disk as a dirty bitmap sees it. */
export interface ChangeExtent {
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** `clean`: not written since the bitmap was made. `zero`: written, and reads as zeros. `data`: written. */
  readonly kind: "clean" | "data" | "zero";
}

/** An NBD export, read-only. */
export interface NbdSource extends BlockSource {
  readonly client: NbdClient;
  /**
   * What changed according to the dirty bitmap `name` (one of `dirtyBitmaps` of {@link openNbdSource}):
   * ordered, gap-free, joined, pull-only. One pass over the server's state, zeros included.
   */
  changes(name: string, options: { signal: AbortSignal }): AsyncIterable<ChangeExtent>;
}

export interface NbdSourceOptions extends NbdConnectOptions {
  /** Names of QEMU dirty bitmaps that the server must offer (`qemu:dirty-bitmap:NAME`). */
  readonly dirtyBitmaps?: readonly string[];
}

/** Opens an export for reading. The source owns the connection. */
export async function openNbdSource(target: NbdTarget | string, options: NbdSourceOptions = {}): Promise<NbdSource> {
  const { dirtyBitmaps = [], contexts = [], ...rest } = options;
  const bitmaps = dirtyBitmaps.map((name) => `${CONTEXT_DIRTY_BITMAP}${name}`);
  const client = await connectNbd(target, { connections: 2, ...rest, contexts: [CONTEXT_ALLOCATION, ...bitmaps, ...contexts] });
  const missing = bitmaps.filter((name) => !client.info.contexts.has(name));
  if (missing.length > 0) {
    await client.close();
    const context = { export: client.info.name, missing, offered: [...client.info.contexts.keys()] };
    throw usage("unsupported", "the NBD server does not offer the dirty bitmap; was the export made with it?", context);
  }
  return new ClientSource(client);
}

class ClientSource implements NbdSource {
  readonly client: NbdClient;

  constructor(client: NbdClient) {
    this.client = client;
  }

  get size(): number {
    return this.client.size;
  }

  async *extents({ signal }: { signal: AbortSignal }): AsyncGenerator<Extent, void, undefined> {
    signal.throwIfAborted();
    if (this.size === 0) return;
    if (this.client.info.contexts.has(CONTEXT_ALLOCATION))
      yield* this.#joined([CONTEXT_ALLOCATION], ([status]) => zeroOrData(status!), signal);
    else yield { offset: 0, length: this.size, kind: "data" };
  }

  async *changes(name: string, { signal }: { signal: AbortSignal }): AsyncGenerator<ChangeExtent, void, undefined> {
    signal.throwIfAborted();
    if (this.size === 0) return;
    const contexts = [`${CONTEXT_DIRTY_BITMAP}${name}`, CONTEXT_ALLOCATION].filter(
      (name, at) => at === 0 || this.client.info.contexts.has(name),
    );
    yield* this.#joined(contexts, ([dirty, allocation = 0]) => ((dirty! & DIRTY) === 0 ? "clean" : zeroOrData(allocation)), signal);
  }

  /** Runs that differ only in what `kindOf` does not look at are one. */
  async *#joined<Kind extends string>(
    contexts: readonly string[],
    kindOf: (statuses: readonly number[]) => Kind,
    signal: AbortSignal,
  ): AsyncGenerator<{ offset: number; length: number; kind: Kind }, void, undefined> {
    let last: { offset: number; length: number; kind: Kind } | undefined;
    for await (const { offset, length, statuses } of this.client.combinedStatuses(contexts, { signal })) {
      signal.throwIfAborted();
      const kind = kindOf(statuses);
      if (last?.kind === kind) last.length += length;
      else {
        if (last) yield last;
        last = { offset, length, kind };
      }
    }
    if (last) yield last;
  }

  async read(offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.client.read(offset, into, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** A hole whose content is undefined (hole without zero) counts as data: only the server knows what it holds. */
function zeroOrData(status: number): "zero" | "data" {
  return (status & ALLOCATION.zero) !== 0 ? "zero" : "data";
}

/** Opens an export for writing. The sink owns the connection; disposing it does not flush. */
export async function openNbdSink(
  target: NbdTarget | string,
  options: NbdConnectOptions = {},
): Promise<BlockSink & { readonly client: NbdClient }> {
  const client = await connectNbd(target, options);
  if (client.info.readOnly) {
    await client.close();
    throw usage("unsupported", "cannot write: the NBD export is read-only", { export: client.info.name });
  }
  return {
    client,
    size: client.size,
    write: (offset, data, { signal }) => client.write(offset, data, { signal }),
    writeZeroes: (offset, length, { signal }) => client.writeZeroes(offset, length, { signal }),
    flush: ({ signal }) => client.flush({ signal }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}
