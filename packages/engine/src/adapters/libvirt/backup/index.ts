import { type Clock, systemClock } from "@godwit/core";
import { EngineError } from "../../../model/errors.ts";
import { type BackupFacts, BaseLostError, type HostBackup, RouteLostError, VmBusyError } from "../../../ports/backup.ts";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { engineError, isStuck } from "../errors.ts";
import { findDomain, type LibvirtAccess } from "../migration/access.ts";
import { scratchLeft } from "./abandoned.ts";
import { dropCheckpoint, endMoment, redefineCheckpoint } from "./end.ts";
import { type LibvirtFacts, readBackupFacts, readWriteStats } from "./facts.ts";
import { readMachine } from "./machine.ts";
import { beginPull, type Capturing } from "./pull.ts";
import { beginStill } from "./still.ts";
import { readHostTls } from "./tls.ts";

function isLibvirt(host: HypervisorHost): host is LibvirtAccess {
  return "connection" in host;
}

function isOurs(facts: BackupFacts): facts is LibvirtFacts {
  return "rooms" in facts;
}

/** The backup side of a libvirt host. Its exports are on sockets of the host, reached through its shell, or on a network. */
export function libvirtBackup(host: HypervisorHost, shell: HostShell, clock: Clock = systemClock): HostBackup {
  if (!isLibvirt(host)) throw new EngineError("invalid", "this is not a libvirt host");
  const capturing: Capturing = { host, shell, clock };
  const facts = (vmId: string, signal: AbortSignal): Promise<LibvirtFacts> => readBackupFacts(host, shell, vmId, signal);
  /** What was asked a moment ago, as far as it was asked here. */
  const known = async (given: BackupFacts | undefined, vmId: string, signal: AbortSignal): Promise<LibvirtFacts> =>
    given && isOurs(given) ? given : await facts(vmId, signal);
  return {
    facts: (vmId, { signal }) => explained(`reading VM ${vmId}`, facts(vmId, signal)),
    machine: (vmId, { signal }) => explained(`reading the definition of VM ${vmId}`, readMachine(capturing, vmId, signal)),
    begin: (vmId, request, { signal }) =>
      explained(
        "taking the moment",
        known(request.facts, vmId, signal).then((now) => (now.state === "off" ? beginStill : beginPull)(capturing, now, request, signal)),
      ),
    tls: ({ signal }) => readHostTls(shell, signal),
    scratchLeft: async ({ scratch }, { signal }) => (scratch ? await scratchLeft(shell, scratch, { signal }) : undefined),
    async writeStats(vmId, { signal }) {
      const dom = await findDomain(host.connection, vmId, signal);
      return dom && (await explained("reading the guest's writes", readWriteStats(host.connection, dom, signal)));
    },
    end: (vmId, place, { forget, before, signal }) =>
      explained("ending the export", endMoment(capturing, vmId, place, forget ? place.checkpoint : before, signal)),
    async restoreCheckpoint(vmId, xml, { signal }) {
      const dom = await findDomain(host.connection, vmId, signal);
      return dom !== undefined && (await explained("putting the checkpoint back", redefineCheckpoint(host.connection, dom, xml, signal)));
    },
    async deleteCheckpoint(vmId, name, { signal }) {
      const dom = await findDomain(host.connection, vmId, signal);
      if (dom) await explained("removing a checkpoint", dropCheckpoint(host.connection, dom, name, signal));
    },
  };
}

async function explained<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof BaseLostError || error instanceof RouteLostError) throw error;
    if (isStuck(error)) throw new VmBusyError(what, { cause: error });
    throw engineError(error, what);
  }
}
