import { CheckpointXmlFlags, type Connection, type Domain, isLibvirtError } from "@godwit/libvirt";
import { anySignal, type Clock, raceAbort } from "@godwit/core";
import { EngineError } from "../../../model/errors.ts";
import {
  BaseLostError,
  type BackupFacts,
  type ExportRoute,
  type FreezeReport,
  type Moment,
  type MomentRequest,
  RouteLostError,
} from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { carriedOutMs, type LibvirtAccess, needDomain } from "../migration/access.ts";
import { escapeXml } from "../xml/edit.ts";
import { watchExport } from "./abandoned.ts";
import { type LibvirtFacts, MARK } from "./facts.ts";
import { whileFrozen } from "./freeze.ts";
import { candidatePorts, type ExportPlace, exportedDisk, socketPlace, tcpPlace } from "./route.ts";

export interface Capturing {
  readonly host: LibvirtAccess;
  readonly shell: HostShell;
  readonly clock: Clock;
}

interface Room {
  readonly own: string;
  readonly scratch: { readonly directory: string; readonly freeBytes: number };
  readonly listening: ReadonlySet<number>;
}

/** A moment of a running VM: libvirt's pull-mode backup, frozen where asked for. */
export async function beginPull(
  { host, shell, clock }: Capturing,
  facts: LibvirtFacts,
  request: MomentRequest,
  signal: AbortSignal,
): Promise<Moment> {
  const { connection } = host;
  const room = findRoom(facts, request.scratchBytes);
  const dom = await needDomain(connection, facts.vmId, signal);
  const freezing = { connection, dom, shell, clock, vmId: facts.vmId, moment: request.moment };
  const checkpointXml = checkpointXmlOf(facts, request);
  const watch = async (): Promise<void> => {
    const uri = await connection.remote.connectGetUri({ signal });
    await watchExport(shell, { moment: request.moment, vmId: facts.vmId, uri, scratch: room.scratch }, { signal });
  };
  const take = async (): Promise<Taken> => {
    const place = await begun(request.route ?? { kind: "ssh" }, { shell, room, moment: request.moment }, async (server) => {
      const backupXml = pullXml(facts, request, server, room.scratch.directory);
      signal.throwIfAborted();
      const call = connection.remote.domainBackupBegin({ dom, backupXml, checkpointXml: checkpointXml ?? null, flags: 0 });
      begins.set(request.moment, call);
      const forget = (): void => void (begins.get(request.moment) === call && begins.delete(request.moment));
      call.then(forget, forget);
      await raceAbort(call, signal);
    }).catch((error: unknown) => {
      if (request.base !== undefined && isBaseLost(error)) throw new BaseLostError((error as Error).message, { cause: error });
      throw error;
    });
    const at = new Date(clock.now()).toISOString();
    // Asked for while the guest is let go.
    const made = checkpointXml === undefined ? undefined : madeCheckpoint(connection, dom, request.checkpoint, signal);
    made?.catch(() => undefined);
    const watching = watch();
    watching.catch(() => undefined);
    return { at, place, made, watching };
  };
  const taken = request.freeze ? await whileFrozen(freezing, signal, take) : { value: await take(), freeze: notAsked };
  const made = await taken.value.made;
  await taken.value.watching;
  return {
    at: taken.value.at,
    freeze: taken.freeze,
    scratch: { ...room.scratch, moment: request.moment },
    disks: request.disks.map(({ target, mode }) => exportedDisk(taken.value.place, target, mode)),
    ...(made !== undefined && { checkpointXml: made }),
  };
}

/** Exports that daemons were asked to begin and have not answered yet, by their moment. */
const begins = new Map<string, Promise<unknown>>();

/**
 * Resolves once it is known what there is to end: the guest is let go at once when a capture is given up, but the
 * daemon begins what it was asked for, if need be when the VM is free for it.
 */
export async function whenBegun(moment: string, signal: AbortSignal): Promise<void> {
  const call = begins.get(moment);
  if (call) await raceAbort(call, anySignal(signal, AbortSignal.timeout(carriedOutMs))).catch(() => signal.throwIfAborted());
}

interface Taken {
  readonly at: string;
  readonly place: ExportPlace;
  readonly made: Promise<string> | undefined;
  readonly watching: Promise<void>;
}

/** libvirt's names for what QEMU's NBD server could not do, or not with these credentials. */
const routeTrouble = /nbd-server-start|bind|tls|x509|certificate|credential/i;

/** Begins the export where the route leads; a port that somebody took meanwhile is left for the next one. */
async function begun(
  route: ExportRoute,
  { shell, room, moment }: { readonly shell: HostShell; readonly room: Room; readonly moment: string },
  begin: (server: string) => Promise<void>,
): Promise<ExportPlace> {
  if (route.kind === "ssh") {
    const socket = `${room.own}/${MARK}${moment}.sock`;
    await begin(`<server transport='unix' socket='${escapeXml(socket)}'/>`);
    return socketPlace(shell, socket);
  }
  const tls = route.tls ? " tls='yes'" : "";
  for (const port of candidatePorts(route, room.listening)) {
    try {
      await begin(`<server transport='tcp'${tls} name='${escapeXml(route.address)}' port='${port}'/>`);
      return tcpPlace(route, port);
    } catch (error) {
      if (!isLibvirtError(error) || !routeTrouble.test(error.message) || isBaseLost(error)) throw error;
      if (!/in use/i.test(error.message)) throw new RouteLostError(error.message, { cause: error });
    }
  }
  throw new RouteLostError(`no port from ${route.firstPort} to ${route.lastPort} is free on ${route.address}`);
}

const notAsked: FreezeReport = { outcome: "not-asked", frozenMs: 0, fileSystems: 0, text: "the guest was not asked to hold still" };

function isBaseLost(error: unknown): boolean {
  return (
    isLibvirtError(error, "CHECKPOINT_INCONSISTENT", "NO_DOMAIN_CHECKPOINT") || (isLibvirtError(error) && /bitmap/i.test(error.message))
  );
}

function findRoom(facts: LibvirtFacts, needed: number): Room {
  const { own, folders, listening } = facts.rooms;
  if (own === undefined) {
    const text = `${facts.name} cannot be captured: libvirt keeps no folder for this VM below /var/lib/libvirt/qemu`;
    throw new EngineError("hypervisor", text, { vm: facts.name });
  }
  const scratch = folders.find(({ freeBytes }) => freeBytes >= needed);
  if (scratch) return { own, scratch, listening };
  const seen = folders.map(({ directory, freeBytes }) => `${directory} has ${freeBytes}`).join(", ");
  const text = `${facts.name} cannot be captured: what it overwrites meanwhile needs ${needed} bytes beside it, and ${seen}; free some space there`;
  throw new EngineError("refused", text, { vm: facts.name });
}

/** The backup's description (libvirt, formatbackup.html). Drives that are left out must be named. */
export function pullXml(facts: BackupFacts, request: MomentRequest, server: string, directory: string): string {
  const disks = request.disks.map(({ target, mode }) => {
    const name = escapeXml(target);
    const how =
      mode === "incremental" && request.base !== undefined
        ? ` backupmode='incremental' incremental='${escapeXml(request.base)}' exportbitmap='${name}'`
        : " backupmode='full'";
    const scratch = `${directory}/${MARK}${request.moment}-${target}.scratch`;
    return `<disk name='${name}' backup='yes' type='file' exportname='${name}'${how}><scratch file='${escapeXml(scratch)}'/></disk>`;
  });
  const others = facts.leftOut.map(({ target }) => `<disk name='${escapeXml(target)}' backup='no'/>`);
  return `<domainbackup mode='pull'>${server}<disks>${[...disks, ...others].join("")}</disks></domainbackup>`;
}

/** Undefined when no disk can have a checkpoint. */
export function checkpointXmlOf(facts: BackupFacts, { checkpoint }: MomentRequest): string | undefined {
  if (facts.disks.every(({ untracked }) => untracked !== undefined)) return undefined;
  const disks = facts.disks.map(
    ({ target, untracked }) => `<disk name='${escapeXml(target)}' checkpoint='${untracked === undefined ? "bitmap" : "no"}'/>`,
  );
  const others = facts.leftOut.map(({ target }) => `<disk name='${escapeXml(target)}' checkpoint='no'/>`);
  return `<domaincheckpoint><name>${escapeXml(checkpoint)}</name><disks>${[...disks, ...others].join("")}</disks></domaincheckpoint>`;
}

async function madeCheckpoint(connection: Connection, dom: Domain, name: string, signal: AbortSignal): Promise<string> {
  const checkpoint = await connection.remote.domainCheckpointLookupByName({ dom, name, flags: 0 }, { signal });
  return await connection.remote.domainCheckpointGetXmlDesc({ checkpoint, flags: CheckpointXmlFlags.NO_DOMAIN }, { signal });
}
