import { type Clock, isCancelled } from "@godwit/core";
import {
  type Connection,
  type Domain,
  DomainJobStatsFlags,
  DomainMigrateFlags,
  LibvirtError,
  MigrateParam,
  typedParams,
} from "@godwit/libvirt";
import { isIPv6 } from "node:net";
import { maximumThrottlePercent } from "../../../migration/contract.ts";
import { type MoveHooks, MoveError, type MoveProgress, type MoveRequest } from "../../../ports/migration.ts";
import { needDomain, saying, unlessRefused } from "./access.ts";
import { mapDefinition } from "../xml/edit.ts";
import type { Copy } from "./copies.ts";
import type { Definition } from "./source.ts";
import { moveProgress } from "./stats.ts";
import { Watch } from "./watch.ts";

const { LIVE, PEER2PEER, PERSIST_DEST, UNDEFINE_SOURCE, NON_SHARED_DISK, UNSAFE, CHANGE_PROTECTION } = DomainMigrateFlags;
const { AUTO_CONVERGE, POSTCOPY, PARALLEL, COMPRESSED, TLS, ZEROCOPY } = DomainMigrateFlags;

/** A guest is slowed by so much more at a time: four steps to the most that the contract allows. */
const throttleStepPercent = maximumThrottlePercent / 4;

/** One move, and what it needs. */
export interface Move {
  readonly source: Connection;
  readonly destination: Connection;
  readonly dom: Domain;
  readonly definition: Definition;
  readonly request: MoveRequest;
  readonly copies: readonly Copy[];
  readonly hooks: MoveHooks;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

function flagsOf({ definition, request, copies }: Move): number {
  return (
    LIVE |
    (definition.persistentXml === undefined ? 0 : PERSIST_DEST | UNDEFINE_SOURCE) |
    (copies.length > 0 ? NON_SHARED_DISK : 0) |
    (request.sharingProven ? UNSAFE : 0) |
    (request.contract.policy === "auto-converge" ? AUTO_CONVERGE : 0) |
    (request.contract.policy === "post-copy" ? POSTCOPY : 0) |
    (request.transport.parallelConnections === undefined ? 0 : PARALLEL) |
    (request.transport.compression === undefined ? 0 : COMPRESSED) |
    (request.transport.tls ? TLS : 0) |
    (request.transport.zeroCopy ? ZEROCOPY : 0)
  );
}

function paramsOf({ request, copies, definition, dom }: Move): Record<string, string | number | bigint | readonly string[] | undefined> {
  const { destinationAddress, bandwidthBytesPerSecond } = request;
  const host = isIPv6(destinationAddress) ? `[${destinationAddress}]` : destinationAddress;
  const mibPerSecond =
    bandwidthBytesPerSecond === undefined ? undefined : BigInt(Math.max(1, Math.round(bandwidthBytesPerSecond / 2 ** 20)));
  const copied = copies.length > 0;
  const mapping = { disks: copies.map(({ target, to }) => ({ target, path: to })), networks: request.networks };
  const changed = copied || Object.keys(request.networks).length > 0;
  return {
    [MigrateParam.URI]: `tcp://${host}`,
    [MigrateParam.LISTEN_ADDRESS]: destinationAddress,
    [MigrateParam.DEST_NAME]: dom.name,
    [MigrateParam.BANDWIDTH]: mibPerSecond,
    [MigrateParam.PARALLEL_CONNECTIONS]: request.transport.parallelConnections,
    ...(request.contract.policy === "auto-converge" && {
      [MigrateParam.AUTO_CONVERGE_INITIAL]: throttleStepPercent,
      [MigrateParam.AUTO_CONVERGE_INCREMENT]: throttleStepPercent,
    }),
    [MigrateParam.COMPRESSION]: request.transport.compression,
    [MigrateParam.MIGRATE_DISKS]: copied ? copies.map((copy) => copy.target) : undefined,
    [MigrateParam.DEST_XML]: changed ? mapDefinition(definition.liveXml, mapping) : undefined,
    [MigrateParam.PERSIST_XML]:
      changed && definition.persistentXml !== undefined ? mapDefinition(definition.persistentXml, mapping) : undefined,
  };
}

/** Moves the VM in the way the request says, and resolves with the last figures. Rejects with `MoveError`. */
export async function moveDomain(options: Omit<Move, "dom"> & { readonly vmId: string }): Promise<MoveProgress> {
  options.signal.throwIfAborted();
  const move: Move = { ...options, dom: await needDomain(options.source, options.vmId, options.signal) };
  const watch = new Watch(move);
  try {
    if (move.request.peerUri === undefined) await moveDirectly(move, watch);
    else await movePeerToPeer(move, watch, move.request.peerUri);
  } catch (error) {
    await watch.restore();
    throw error instanceof MoveError ? error : new MoveError(saying(error), watch.sawData, { cause: error });
  } finally {
    move.hooks.turn?.end();
    await watch.stop();
  }
  const { last = moveProgress([]) } = watch;
  const figures = (await completedFigures(move)) ?? last;
  // The destination counts memory only and knows no dirty rate; disks and rounds are the source's business.
  return {
    ...figures,
    dirtyBytesPerSecond: watch.dirtyBytesPerSecond,
    pauseLimitMs: watch.pauseLimitMs,
    throttlePercent: watch.throttlePercent,
    atLast: watch.atLast,
    diskTotalBytes: last.diskTotalBytes,
    diskProcessedBytes: watch.diskBytes,
  };
}

/**
 * The five phases of libvirt's migration protocol, version 3 with parameters, driven from here
 * (libvirt, docs/kbase/internals/migration.html): begin and perform on the source, prepare and finish on the
 * destination, confirm on the source. Once prepare succeeded, finish and confirm are always called, so that
 * both sides know how it ended.
 */
async function moveDirectly(move: Move, watch: Watch): Promise<void> {
  const { dom, hooks } = move;
  const [source, destination] = [move.source.remote, move.destination.remote];
  const flags = flagsOf(move);
  const sourceFlags = flags | CHANGE_PROTECTION;
  const params = paramsOf(move);
  const begun = await source.domainMigrateBegin3Params({ dom, params: typedParams.encode(params), flags: sourceFlags });
  let prepared: { readonly cookieOut: Uint8Array; readonly uriOut: string | null };
  try {
    move.signal.throwIfAborted();
    const withXml = typedParams.encode({ ...params, [MigrateParam.DEST_XML]: begun.xml });
    prepared = await destination.domainMigratePrepare3Params({ params: withXml, cookieIn: begun.cookieOut, flags: flags & ~AUTO_CONVERGE });
  } catch (error) {
    await unlessLost(
      source.domainMigrateConfirm3Params({
        dom,
        params: typedParams.encode(params),
        cookieIn: new Uint8Array(),
        flags: sourceFlags,
        cancelled: 1,
      }),
    );
    if (isCancelled(error)) throw error;
    throw new MoveError(`the destination did not prepare for it: ${saying(error)}`, !looksUnreachable(error), { cause: error });
  }
  const onWire = typedParams.encode({ ...params, [MigrateParam.URI]: prepared.uriOut ?? params[MigrateParam.URI] });
  let performed: Uint8Array | undefined;
  let failure: unknown;
  try {
    if (hooks.turn?.before === "perform") await hooks.turn.take(move.signal);
    await Promise.all([hooks.phase("perform"), watch.begin()]);
    const performing = source.domainMigratePerform3Params({
      dom,
      dconnuri: null,
      params: onWire,
      cookieIn: prepared.cookieOut,
      flags: sourceFlags,
    });
    performed = await watch.during(performing);
  } catch (error) {
    failure = error;
  }
  await finish(move, { params: onWire, performed: failure === undefined ? performed : undefined, flags }, failure, watch);
}

interface Performed {
  readonly params: ReturnType<typeof typedParams.encode>;
  readonly performed: Uint8Array | undefined;
  readonly flags: number;
}

async function finish(move: Move, { params, performed, flags }: Performed, failure: unknown, watch: Watch): Promise<void> {
  const { dom, hooks, source, destination } = move;
  const cancelled = performed === undefined ? 1 : 0;
  const cookieIn = performed ?? new Uint8Array();
  let cookieOut: Uint8Array | undefined;
  let refusal: unknown;
  // The guest stands still until finish lets it run: what need not come first, such as writing the phase down, comes beside it.
  const recorded = failure === undefined ? hooks.phase("finish") : undefined;
  recorded?.catch(() => undefined);
  try {
    const finished = await destination.remote.domainMigrateFinish3Params({ params, cookieIn, flags: flags & ~AUTO_CONVERGE, cancelled });
    cookieOut = finished.cookieOut;
  } catch (error) {
    refusal = error;
  }
  hooks.turn?.end();
  await recorded;
  const runsThere = cancelled === 0 && cookieOut !== undefined;
  if (runsThere) await hooks.phase("confirm");
  // When finish got no answer, nobody knows whether the guest runs there: the source must not let it run on.
  if (!runsThere && refusal instanceof LibvirtError && refusal.kind !== "libvirt" && cancelled === 0) throw refusal;
  const confirm = source.remote.domainMigrateConfirm3Params({
    dom,
    params,
    cookieIn: cookieOut ?? new Uint8Array(),
    flags: flags | CHANGE_PROTECTION,
    cancelled: runsThere ? 0 : 1,
  });
  if (runsThere) await confirm;
  else await unlessLost(confirm);
  if (failure !== undefined) throw new MoveError(saying(failure), watch.sawData || !looksUnreachable(failure), { cause: failure });
  if (!runsThere) throw new MoveError(`the destination could not let it run: ${saying(refusal)}`, true, { cause: refusal });
}

async function movePeerToPeer(move: Move, watch: Watch, peerUri: string): Promise<void> {
  const flags = flagsOf(move) | PEER2PEER;
  if (move.hooks.turn?.before === "perform") await move.hooks.turn.take(move.signal);
  await Promise.all([move.hooks.phase("perform"), watch.begin()]);
  const performing = move.source.remote.domainMigratePerform3Params({
    dom: move.dom,
    dconnuri: peerUri,
    params: typedParams.encode(paramsOf(move)),
    cookieIn: new Uint8Array(),
    flags,
  });
  try {
    await watch.during(performing);
  } catch (error) {
    throw new MoveError(saying(error), watch.sawData || !looksUnreachable(error), { cause: error });
  }
}

/** The figures that the destination keeps of a migration that came in: with the pause, as measured. */
async function completedFigures({ destination, request }: Move): Promise<MoveProgress | undefined> {
  const dom = await needDomain(destination, request.vmId).catch(() => undefined);
  if (!dom) return undefined;
  const stats = await unlessRefused(destination.remote.domainGetJobStats({ dom, flags: DomainJobStatsFlags.COMPLETED })).catch(
    () => undefined,
  );
  return stats && stats.params.length > 0 ? moveProgress(stats.params) : undefined;
}

/** Clean-up calls that may fail, because the daemon has cleaned up or is gone; the truth is looked up afterwards. */
async function unlessLost(call: Promise<unknown>): Promise<void> {
  await call.catch(() => undefined);
}

/** libvirt has no error code for it: these are the texts of its socket code and of strerror. */
function looksUnreachable(error: unknown): boolean {
  return /unable to connect|connection (refused|timed out|reset)|no route to host|network is unreachable|cannot assign requested address|unable to resolve/i.test(
    saying(error),
  );
}
