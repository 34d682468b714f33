import { type Connection, type Domain, DomainJobType, DomainPausedReason, DomainShutoffReason, DomainState } from "@godwit/libvirt";
import type { Sighting } from "../../../ports/migration.ts";
import { findDomain, saying, unlessRefused } from "./access.ts";
import { operationName } from "./stats.ts";

/** What this host says of one VM, in the words that decide where it lives. Never rejects. */
export async function seeDomain(connection: Connection, vmId: string, signal: AbortSignal): Promise<Sighting> {
  try {
    const domain = await findDomain(connection, vmId, signal);
    return domain ? await see(connection, domain, signal) : { presence: "absent" };
  } catch (error) {
    return { presence: "unknown", text: saying(error) };
  }
}

async function see(connection: Connection, dom: Domain, signal: AbortSignal): Promise<Sighting> {
  const { state, reason } = await connection.remote.domainGetState({ dom, flags: 0 }, { signal });
  switch (state) {
    case DomainState.SHUTOFF:
    case DomainState.CRASHED:
      return inactive(state === DomainState.SHUTOFF ? reason : DomainShutoffReason.UNKNOWN);
    case DomainState.PAUSED: {
      if (reason === DomainPausedReason.STARTING_UP) return { presence: "incoming" };
      const job = await activeJob(connection, dom, signal);
      if (job === "migration in" || job === "restore") return { presence: "incoming" };
      const by = reason === DomainPausedReason.MIGRATION || reason === DomainPausedReason.POSTCOPY ? "migration" : "other";
      return { presence: "paused", by, moving: isLeaving(job) };
    }
    default:
      return { presence: "running", moving: isLeaving(await activeJob(connection, dom, signal)) };
  }
}

function inactive(reason: number): Sighting {
  const ended = reason === DomainShutoffReason.SHUTDOWN || reason === DomainShutoffReason.DESTROYED;
  return { presence: "inactive", movedAway: reason === DomainShutoffReason.MIGRATED, ...(ended && { ended }) };
}

function isLeaving(job: string | undefined): boolean {
  return job === "migration out" || job === "save";
}

async function activeJob(connection: Connection, dom: Domain, signal: AbortSignal): Promise<string | undefined> {
  const stats = await unlessRefused(connection.remote.domainGetJobStats({ dom, flags: 0 }, { signal }));
  if (!stats || (stats.type !== DomainJobType.BOUNDED && stats.type !== DomainJobType.UNBOUNDED)) return undefined;
  return operationName(stats.params);
}
