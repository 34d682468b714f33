import { raceAbort, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";

/** Opens a connection within `ms`, or throws `host-lost`. One that opens after that, or after an abort, is closed again. */
export async function openWithin(
  ms: number,
  signal: AbortSignal,
  open: (signal: AbortSignal) => Promise<HypervisorHost>,
): Promise<HypervisorHost> {
  const late = (): Error => new EngineError("host-lost", `no connection within ${ms / 1000} s`);
  return await withDeadline(ms, late, signal, (signal) => {
    const opening = open(signal);
    return raceAbort(opening, signal).catch((error: unknown) => {
      opening.then((late) => late[Symbol.asyncDispose]()).catch(() => undefined);
      throw error;
    });
  });
}
