import { anySignal, BlockError, type BlockSink, type BlockSource, type Extent, withDeadline } from "@godwit/core";
import { loadTlsDirectory, type NbdAddress, NbdError, type NbdSource, type NbdTarget, type NbdTlsOptions } from "@godwit/nbd";
import { openNbdSink, openNbdSource } from "@godwit/nbd";
import { EngineError } from "../../../model/errors.ts";
import { type ExportedDisk, type ExportRoute, RouteLostError } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { UpgradingSource } from "./upgrade.ts";
import { writingOut } from "./write-out.ts";

/** Where an export listens, and how it is spoken to. */
export interface ExportPlace {
  readonly address: NbdAddress;
  /** A directory of the server with its credentials, and the name that the host's certificate carries. */
  readonly tls?: { readonly directory: string; readonly hostname: string } | undefined;
  /** A local way to it that carries more, as long as it is not disposed. */
  readonly carry?: ((signal: AbortSignal) => Promise<Carried | undefined>) | undefined;
}

/** A route that is not the SSH session. */
export type TcpRoute = Exclude<ExportRoute, { readonly kind: "ssh" }>;

/** Nothing came for so long, though it was asked for: nobody is there any more. */
const readMs = 10_000;
/** A host may hold writes back while its own disk is busy. */
const writeMs = 60_000;
const openMs = 10_000;
const lookMs = 1000;
const portsTried = 8;
/** QEMU answers from the loop that also serves its guest's disks: a guest waits as long as one answer takes, so they are small. */
const readBytes = 256 << 10;
/** Asking a QEMU of today for extended ones costs a round more, and gives nothing that disks need. */
const replies = "structured";

/** A Unix socket of the host, reached through its shell. */
export function socketPlace(shell: HostShell, socket: string): ExportPlace {
  const shared = new Shared((signal) => shell.carry?.(socket, { signal }) ?? Promise.resolve(undefined));
  return {
    address: {
      name: socket,
      async open(options) {
        if (!shell.openUnixSocket)
          throw new EngineError("invalid", "the host's shell carries no sockets: register the host with a +ssh URI");
        return await shell.openUnixSocket(socket, options);
      },
    },
    carry: (signal) => shared.take(signal),
  };
}

type Carried = AsyncDisposable & { readonly path: string };

/** One carrier for all disks of a moment, from the first who needs it until the last is done. */
class Shared {
  readonly #start: (signal: AbortSignal) => Promise<Carried | undefined>;
  #users = 0;
  #running: Promise<Carried | undefined> | undefined;

  constructor(start: (signal: AbortSignal) => Promise<Carried | undefined>) {
    this.#start = start;
  }

  async take(signal: AbortSignal): Promise<Carried | undefined> {
    this.#users += 1;
    const running = (this.#running ??= this.#start(signal));
    const release = async (): Promise<void> => {
      this.#users -= 1;
      if (this.#users > 0) return;
      this.#running = undefined;
      await (await running.catch(() => undefined))?.[Symbol.asyncDispose]();
    };
    const carried = await running.catch(() => undefined);
    if (carried) return { path: carried.path, [Symbol.asyncDispose]: release };
    await release();
    return undefined;
  }
}

export function tcpPlace({ address: host, tls }: TcpRoute, port: number): ExportPlace {
  return { address: { host, port }, ...(tls && { tls }) };
}

/** Ports that an export may be given, in the order in which to try them: two captures of a host seldom try the same first. */
export function candidatePorts({ firstPort, lastPort }: TcpRoute, listening: ReadonlySet<number> = new Set()): number[] {
  const all = Array.from({ length: lastPort - firstPort + 1 }, (_, at) => firstPort + at).filter((port) => !listening.has(port));
  const start = Math.floor(Math.random() * all.length);
  return [...all.slice(start), ...all.slice(0, start)].slice(0, portsTried);
}

async function targetOf({ address, tls }: ExportPlace, exportName: string): Promise<{ target: NbdTarget; tls?: NbdTlsOptions }> {
  const target = { address, exportName, requireTls: tls !== undefined, tls: {} };
  return tls ? { target, tls: { ...(await loadTlsDirectory(tls.directory, "client")), hostname: tls.hostname } } : { target };
}

/** A disk that is exported there. */
export function exportedDisk(place: ExportPlace, target: string, mode: ExportedDisk["mode"], bitmap: string = target): ExportedDisk {
  const incremental = mode === "incremental";
  return {
    target,
    mode,
    open: ({ signal }) => openExport(place, target, incremental ? [bitmap] : [], signal),
    ...(incremental && { changed: (source, { signal }) => changesOf(source, bitmap, signal) }),
  };
}

/** Throws `RouteLostError` where another route may work; so does what it gives. */
export async function openExport(
  place: ExportPlace,
  exportName: string,
  dirtyBitmaps: readonly string[],
  signal: AbortSignal,
): Promise<NbdSource> {
  const open = async (both: AbortSignal, from: ExportPlace = place): Promise<NbdSource> => {
    const { target, tls } = await targetOf(from, exportName);
    return await openNbdSource(target, { signal: both, dirtyBitmaps, tls, requestSize: readBytes, replies });
  };
  if ("open" in place.address) {
    const { carry } = place;
    const first = await open(signal);
    return carry ? new UpgradingSource(first, (both) => carried(carry, both, open)) : first;
  }
  const source = await inTime(place, openMs, signal, (both) => open(both));
  const watch = new StallWatch(place, readMs);
  return {
    client: source.client,
    size: source.size,
    extents: (options) => watch.follow(options.signal, (both) => source.extents({ signal: both })),
    changes: (name, options) => watch.follow(options.signal, (both) => source.changes(name, { signal: both })),
    read: (offset, into, options) => watch.run(options.signal, (both) => source.read(offset, into, { signal: both })),
    [Symbol.asyncDispose]: async () => {
      watch[Symbol.dispose]();
      await source[Symbol.asyncDispose]();
    },
  };
}

/** Opens by a carrier, which then ends with what was opened; undefined when there is none. */
async function carried<T extends AsyncDisposable>(
  carry: NonNullable<ExportPlace["carry"]>,
  signal: AbortSignal,
  open: (signal: AbortSignal, from: ExportPlace) => Promise<T>,
): Promise<T | undefined> {
  const carrier = await carry(signal);
  if (!carrier) return undefined;
  try {
    const opened = await open(signal, { address: { path: carrier.path } });
    const close = opened[Symbol.asyncDispose].bind(opened);
    opened[Symbol.asyncDispose] = async () => {
      await close();
      await carrier[Symbol.asyncDispose]();
    };
    return opened;
  } catch (error) {
    await carrier[Symbol.asyncDispose]();
    throw error;
  }
}

/** The same for writing. */
export async function openExportSink(place: ExportPlace, exportName: string, signal: AbortSignal): Promise<BlockSink> {
  return writingOut(await openSink(place, exportName, signal));
}

async function openSink(place: ExportPlace, exportName: string, signal: AbortSignal): Promise<BlockSink> {
  const open = async (both: AbortSignal, from: ExportPlace = place): Promise<BlockSink> => {
    const { target, tls } = await targetOf(from, exportName);
    return await openNbdSink(target, { signal: both, tls, connections: 2, replies });
  };
  if ("open" in place.address) {
    const better = place.carry && (await carried(place.carry, signal, open).catch(() => undefined));
    signal.throwIfAborted();
    return better ?? (await open(signal));
  }
  const sink = await inTime(place, openMs, signal, (both) => open(both));
  const watch = new StallWatch(place, writeMs);
  return {
    size: sink.size,
    write: (offset, data, options) => watch.run(options.signal, (both) => sink.write(offset, data, { signal: both })),
    writeZeroes: (offset, length, options) => watch.run(options.signal, (both) => sink.writeZeroes(offset, length, { signal: both })),
    flush: (options) => lost(place, sink.flush(options), options.signal),
    [Symbol.asyncDispose]: async () => {
      watch[Symbol.dispose]();
      await sink[Symbol.asyncDispose]();
    },
  };
}

function describe({ address }: ExportPlace): string {
  return "host" in address ? `${address.host}, port ${address.port}` : "its socket";
}

function inTime<T>(place: ExportPlace, ms: number, signal: AbortSignal, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = (): Error => new RouteLostError(`nothing came from ${describe(place)} for ${ms / 1000} s`);
  return lost(place, withDeadline(ms, late, signal, body), signal);
}

/** What breaks on the way may work on another one; what the export itself answers will not. */
async function lost<T>(place: ExportPlace, call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await call;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof NbdError && ["connect", "closed", "tls"].includes(error.reason)) {
      throw new RouteLostError(`the way to ${describe(place)} does not work`, { cause: error });
    }
    throw error;
  }
}

/** Ends what is under way when nothing of it has come for too long. One timer for all, as there are many requests. */
class StallWatch implements Disposable {
  readonly #place: ExportPlace;
  readonly #stalled = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #waiting = 0;
  #seen = 0;
  #both: { readonly of: AbortSignal; readonly signal: AbortSignal } | undefined;

  constructor(place: ExportPlace, ms: number) {
    this.#place = place;
    const look = (): void => {
      if (this.#waiting > 0 && performance.now() - this.#seen > ms)
        this.#stalled.abort(new RouteLostError(`nothing came from ${describe(place)} for ${ms / 1000} s`));
    };
    this.#timer = setInterval(look, lookMs).unref();
  }

  async run<T>(signal: AbortSignal, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#waiting === 0) this.#seen = performance.now();
    this.#waiting += 1;
    try {
      return await lost(this.#place, call(this.#with(signal)), signal);
    } finally {
      this.#waiting -= 1;
      this.#seen = performance.now();
    }
  }

  async *follow<T>(signal: AbortSignal, open: (signal: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = open(this.#with(signal))[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.run(signal, () => iterator.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #with(of: AbortSignal): AbortSignal {
    if (this.#both?.of !== of) this.#both = { of, signal: anySignal(of, this.#stalled.signal) };
    return this.#both.signal;
  }
}

async function* changesOf(source: BlockSource, bitmap: string, signal: AbortSignal): AsyncGenerator<Extent> {
  if (!isNbdSource(source)) throw new BlockError("unsupported", "the list of changes belongs to the export that was opened with it");
  for await (const { offset, length, kind } of source.changes(bitmap, { signal })) {
    if (kind !== "clean") yield { offset, length, kind };
  }
}

function isNbdSource(source: BlockSource): source is NbdSource {
  return "changes" in source;
}
