import { isCancelled, toError } from "@godwit/core";
import { isLibvirtError, LibvirtError } from "@godwit/libvirt";
import { EngineError } from "../../model/errors.ts";

/**
 * What the engine's callers match on: `not-found` for an unknown domain, `hypervisor` when the daemon said no or
 * said what we cannot read, `host-lost` when nobody can know. Cancellations pass as they are.
 */
export function engineError(thrown: unknown, what: string): Error {
  const error = toError(thrown);
  if (error instanceof EngineError || isCancelled(error)) return error;
  if (isLibvirtError(error, "NO_DOMAIN")) return new EngineError("not-found", `${what}: there is no such VM`, {}, { cause: error });
  if (isStuck(error)) return new EngineError("hypervisor", `${what} failed: ${stuck}`, {}, { cause: error });
  if (isLibvirtError(error) || !(error instanceof LibvirtError) || error.kind === "invalid-argument") {
    return new EngineError("hypervisor", `${what} failed`, {}, { cause: error });
  }
  return new EngineError("host-lost", `${what}: the hypervisor does not answer`, {}, { cause: error });
}

/** libvirt gives up after 30 s; seen for good where QEMU was killed while a daemon that had just started took it up again. */
export function isStuck(error: unknown): boolean {
  return isLibvirtError(error, "OPERATION_TIMEOUT") && /state change lock/.test(error.message);
}

const stuck = "the host's daemon has been busy with this VM for 30 s; try again, and if it stays so, restart libvirtd there: guests run on";

/** Gives `otherwise` when the daemon has no answer to this call, as drivers and old versions do. */
export async function orElse<T, U>(call: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await call;
  } catch (error) {
    if (isLibvirtError(error)) return otherwise;
    throw error;
  }
}
