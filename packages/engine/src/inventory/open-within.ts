import { abortReason, type Clock, isCancelled, raceAbort, toError, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import type { InventoryTiming } from "./timing.ts";

export interface OpenWithin {
  readonly timing: Pick<InventoryTiming, "connectMs" | "hedgeMs">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly open: (signal: AbortSignal) => Promise<HypervisorHost>;
}

/**
 * Opens a connection within `connectMs`, or throws `host-lost`. An attempt that has come to nothing after `hedgeMs` is
 * joined by another, because its packets may have gone where the host was before; the first result of any counts.
 * Connections that open too late, or after an abort, are closed again.
 */
export async function openWithin({ timing, clock, signal, open }: OpenWithin): Promise<HypervisorHost> {
  const { connectMs, hedgeMs } = timing;
  const late = (): Error => new EngineError("host-lost", `no connection within ${connectMs / 1000} s`);
  return await withDeadline(connectMs, late, signal, async (signal) => {
    const done = new AbortController();
    const both = AbortSignal.any([signal, done.signal]);
    const first = Promise.withResolvers<HypervisorHost>();
    const attempt = async (): Promise<void> => {
      try {
        const host = await open(both);
        if (both.aborted) await host[Symbol.asyncDispose]();
        else first.resolve(host);
      } catch (error) {
        if (!both.aborted || !isCancelled(error)) first.reject(toError(error));
      }
    };
    const hedge = async (): Promise<void> => {
      while (!both.aborted) {
        void attempt();
        await clock.sleep(hedgeMs, { signal: both }).catch(() => undefined);
      }
    };
    void hedge();
    try {
      return await raceAbort(first.promise, signal);
    } catch (error) {
      throw signal.aborted ? abortReason(signal) : error;
    } finally {
      done.abort();
    }
  });
}
