import { type Clock, systemClock } from "@godwit/core";
import { type Connection, DomainUndefineFlags, isLibvirtError } from "@godwit/libvirt";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";
import { type HostMigration, MoveError, type MoveHooks, type MoveProgress, type MoveRequest } from "../../../ports/migration.ts";
import { EngineError } from "../../../model/errors.ts";
import { findDomain, type LibvirtAccess, needDomain, saying, unlessRefused } from "./access.ts";
import { copyPathsIn, createImages, deleteImages } from "./copies.ts";
import { judgeAgainOn, judgeOn } from "./destination.ts";
import { moveDomain } from "./move.ts";
import { diskMoves } from "./disk-moves.ts";
import { measure } from "./measure.ts";
import { offlineMoves } from "./offline.ts";
import { seeDomain } from "./sighting.ts";
import { type Definition, isUnchanged, readDefinition, readSource } from "./source.ts";
import { throwawayGuests } from "./throwaway.ts";

function libvirtHost(host: HypervisorHost): LibvirtAccess {
  if (!isLibvirt(host)) throw new EngineError("invalid", "libvirt moves VMs only between libvirt hosts");
  return host;
}

function isLibvirt(host: HypervisorHost): host is LibvirtAccess {
  return "connection" in host;
}

/** The migration side of a libvirt host. */
export function libvirtMigration(host: HypervisorHost, clock: Clock = systemClock): HostMigration {
  if (!isLibvirt(host)) throw new EngineError("invalid", "libvirt moves VMs only between libvirt hosts");
  const { connection } = host;
  return {
    source: (vmId, { signal }) => readSource(host, vmId, signal),
    judge: (source, wanted, { signal }) => judgeOn(host, source, wanted, signal),
    unchanged: (source, { signal }) => isUnchanged(connection, source, signal),
    judgeAgain: (source, { signal }) => judgeAgainOn(connection, source, signal),
    move: (destination, request, hooks, { signal }) => move({ host, destination, request, hooks, signal, clock }),
    sighting: (vmId, { signal }) => seeDomain(connection, vmId, signal),
    async limitPause(vmId, pauseMs, { signal }) {
      const dom = await needDomain(connection, vmId, signal);
      await connection.remote.domainMigrateSetMaxDowntime({ dom, downtime: BigInt(pauseMs), flags: 0 }, { signal });
    },
    async resume(vmId, { signal }) {
      await connection.remote.domainResume({ dom: await needDomain(connection, vmId, signal) }, { signal });
    },
    async discard(vmId, { signal }) {
      const dom = await findDomain(connection, vmId, signal);
      if (dom) await unlessRefused(connection.remote.domainDestroyFlags({ dom, flags: 0 }, { signal }));
    },
    forget: (vmId, { signal }) => forget(connection, vmId, signal),
    deleteDisks: (paths, { signal }) => deleteImages(connection, paths, signal),
    copyPaths: (source, copies, { signal }) => copyPathsIn(connection, source, copies, signal),
    measure: (vmId, { seconds, signal }) => measure(connection, vmId, seconds, clock, signal),
    ...offlineMoves(host, libvirtHost),
    ...diskMoves(host),
    ...throwawayGuests(host),
  };
}

interface MoveCall {
  readonly host: LibvirtAccess;
  readonly destination: HypervisorHost;
  readonly request: MoveRequest;
  readonly hooks: MoveHooks;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

async function move({ host, destination, request, hooks, signal, clock }: MoveCall): Promise<MoveProgress> {
  if (!isLibvirt(destination)) throw new MoveError("libvirt moves VMs only between libvirt hosts", true);
  const copying = request.copies.length > 0 ? await readSource(host, request.vmId, signal) : undefined;
  const definition = (copying?.definition as Definition | undefined) ?? (await readDefinition(host.connection, request.vmId, signal));
  if (copying) await hooks.phase("images");
  const copies = copying ? await createImages(destination.connection, copying, request.copies, signal).catch(refuse) : [];
  await hooks.phase("prepare");
  return moveDomain({
    source: host.connection,
    destination: destination.connection,
    vmId: request.vmId,
    definition,
    request,
    copies,
    hooks,
    signal,
    clock,
  });
}

function refuse(error: unknown): never {
  throw new MoveError(`the images for the copies could not be made: ${saying(error)}`, true, { cause: error });
}

/** Ends the process that is there, if any, and removes the definition, if any; disks and NVRAM stay. */
async function forget(connection: Connection, vmId: string, signal: AbortSignal): Promise<void> {
  const dom = await findDomain(connection, vmId, signal);
  if (!dom) return;
  await unlessRefused(connection.remote.domainDestroyFlags({ dom, flags: 0 }, { signal }));
  const flags = DomainUndefineFlags.KEEP_NVRAM | DomainUndefineFlags.CHECKPOINTS_METADATA | DomainUndefineFlags.SNAPSHOTS_METADATA;
  try {
    await connection.remote.domainUndefineFlags({ dom, flags }, { signal });
  } catch (error) {
    if (!isLibvirtError(error, "NO_DOMAIN", "OPERATION_INVALID")) throw error; // a transient one is gone with its process
  }
}
