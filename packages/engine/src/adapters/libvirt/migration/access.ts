import { raceAbort } from "@godwit/core";
import { type Connection, type Domain, isLibvirtError, LibvirtError } from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";

/** What the migration code needs of a libvirt host: its raw connection, and more of them for what takes long. */
export interface LibvirtAccess extends HypervisorHost {
  readonly connection: Connection;
  openConnection(options: { readonly signal: AbortSignal }): Promise<Connection>;
}

/** The VM's handle, or undefined when this host does not know it. */
export async function findDomain(connection: Connection, vmId: string, signal?: AbortSignal): Promise<Domain | undefined> {
  try {
    return await connection.remote.domainLookupByUuid({ uuid: vmId }, { signal });
  } catch (error) {
    if (isLibvirtError(error, "NO_DOMAIN")) return undefined;
    throw error;
  }
}

export async function needDomain(connection: Connection, vmId: string, signal?: AbortSignal): Promise<Domain> {
  const domain = await findDomain(connection, vmId, signal);
  if (!domain) throw new EngineError("not-found", `${connection.description} has no VM ${vmId}`, { vmId });
  return domain;
}

/** Undefined for whatever libvirt's own refusal says no to; a lost connection still throws. */
export async function unlessRefused<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isLibvirtError(error)) return undefined;
    throw error;
  }
}

/** libvirt waits for 30 s for a VM that is busy before it begins with what it was asked for. */
export const carriedOutMs = 35_000;

/**
 * A call that the daemon carries out, whoever waits for it: on abort its end is waited for all the same, though not for
 * ever, before it rejects with `signal.reason`. Whoever then undoes it finds what there is to undo.
 */
export async function carriedOut<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await raceAbort(call, signal);
  } catch (error) {
    if (signal.aborted) await raceAbort(call, AbortSignal.timeout(carriedOutMs)).catch(() => undefined);
    throw error;
  }
}

/** libvirt's message; for a lost connection, what was lost. */
export function saying(error: unknown): string {
  return error instanceof LibvirtError || error instanceof Error ? error.message : String(error);
}
