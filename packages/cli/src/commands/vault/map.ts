import { once } from "node:events";
import { totalmem } from "node:os";
import { constrainedMemory } from "node:process";
import { describeError, isCancelled } from "@godwit/core";
import { loadTlsDirectory, type NbdAddress, type NbdExport, openOverlay, serveNbd } from "@godwit/nbd";
import { prepareThreads, type Vault } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { shortId, splitPoint } from "./words.ts";
import { printableLines } from "../../output/table.ts";

export interface MapFlags extends AccessFlags {
  readonly socket?: string;
  readonly listen?: string;
  readonly tls?: string;
  readonly writeOverlay?: string;
  /** Bytes. */
  readonly cache?: number;
}

/** Of what a remote store gave, still sealed: neighbours of what was asked for come along. */
const storeCacheBytes = 64 << 20;

/** An eighth of the memory that this process may use, from 96 MiB to 1 GiB. */
function usualCache(): number {
  const limit = constrainedMemory();
  const memory = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  return Math.min(1 << 30, Math.max(96 << 20, Math.floor(memory / 8)));
}

function addressOf({ socket, listen }: MapFlags): NbdAddress {
  if ((socket === undefined) === (listen === undefined)) {
    throw new CliError(exitCode.usage, "say where to serve: --socket PATH, or --listen HOST:PORT");
  }
  if (socket !== undefined) return { path: socket };
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(listen!);
  if (!match || Number(match[3]) > 65_535)
    throw new CliError(exitCode.usage, `--listen ${listen!}: HOST:PORT is needed, such as 127.0.0.1:10809`);
  return { host: match[1] ?? (match[2] || "127.0.0.1"), port: Number(match[3]) };
}

/** `godwit vault map`: serves until Ctrl-C, which is its normal end. */
export async function mapPoint(text: string, flags: MapFlags, context: VaultContext): Promise<void> {
  const { signal, err } = context;
  const listen = addressOf(flags);
  const wanted = splitPoint(text);
  // They start on one core while another works the passphrase out.
  prepareThreads();
  await using opened = await openVault(flags, context, { cacheBytes: storeCacheBytes });
  await using stack = new AsyncDisposableStack();
  const exported = await openExport(opened.vault, wanted, flags, stack, signal);
  const server = stack.use(
    await serveNbd({
      listen,
      exports: [exported, { ...exported, name: "" }],
      onClientError: (error) => err.write(`a client failed: ${printableLines(describeError(error))}\n`),
      ...(flags.tls === undefined ? {} : { tls: { mode: "required", ...(await loadTlsDirectory(flags.tls, "server")) } }),
    }),
  );
  const uri = server.uri(exported.name);
  await show(
    context,
    { uri, point: exported.point, disk: exported.name, size: exported.source.size, writable: exported.sink !== undefined },
    () => `${uri}\n`,
  );
  try {
    if (!signal.aborted) await once(signal, "abort");
  } catch (error) {
    if (!isCancelled(error)) throw error;
  }
}

async function openExport(
  vault: Vault,
  { point: text, disk }: { readonly point: string; readonly disk: string | undefined },
  { writeOverlay, cache = usualCache() }: MapFlags,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<NbdExport & { readonly point: string }> {
  const point = await vault.point(text, { signal });
  const name = disk ?? (point.disks.length === 1 ? point.disks[0]!.name : undefined);
  const source = stack.use(await vault.openDisk(point, name, { signal, cacheBytes: cache }));
  const description = `${point.name}, ${point.time} (${shortId(point.id)})`;
  const common = { name: name!, description, point: point.id };
  if (writeOverlay === undefined) return { ...common, source };
  const overlay = stack.use(await openOverlay(source, writeOverlay, { baseId: `${point.id}:${name!}` }));
  return { ...common, source: overlay, sink: overlay };
}
