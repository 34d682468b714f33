import { type Clock, isCancelled, type JsonObject } from "@godwit/core";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { VmFacts, VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import { knownVm, type PowerHosts, powerResult } from "./hosts.ts";

export interface VmStopInput extends JsonObject {
  readonly vmId: string;
  readonly vm: string;
  /** `shutdown` asks the guest, `off` pulls the plug. */
  readonly mode: "shutdown" | "off";
  /** How long the guest may take; counted from when it was first asked, over restarts of the server. */
  readonly timeoutSeconds: number;
}

const lookMs = 1000;
/** A guest that is booting does not hear the first request. */
const askAgainMs = 30_000;

/**
 * The job that stops a VM, and ends when it is off. A cancel stops the waiting; the guest was asked by then and
 * may still shut down. A guest that takes too long is left running, with a `timeout`.
 */
export function vmStopKind(hosts: PowerHosts, clock: Clock): JobKind<VmStopInput> {
  return {
    kind: "vm.stop",
    title: ({ vm, mode }) => (mode === "off" ? `Turn ${vm} off` : `Shut ${vm} down`),
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [],
    async run(context) {
      const { signal, input } = context;
      const vm = knownVm(hosts, input.vmId);
      const host = hosts.hypervisor(vm.hostId);
      signal.throwIfAborted();
      if (!isOff(await stateOf(host, vm, signal)))
        await (input.mode === "off" ? turnOff(host, vm, context) : shutDown({ host, vm, clock }, context));
      context.log("info", `${vm.name} is off`);
      return await powerResult(hosts, vm, signal);
    },
  };
}

async function turnOff(host: HypervisorHost, vm: VmView, context: JobContext<VmStopInput>): Promise<void> {
  await context.step("turn off", async () => {
    if (isOff(await stateOf(host, vm, context.signal))) return;
    await host.turnOff(vm.id, context);
  });
}

interface ShutDown {
  readonly host: HypervisorHost;
  readonly vm: VmView;
  readonly clock: Clock;
}

async function shutDown(what: ShutDown, context: JobContext<VmStopInput>): Promise<void> {
  const { vm, clock } = what;
  const asked = context.recorded("asked");
  const at = asked ? (asked.output as { readonly at: number }).at : clock.now();
  if (!asked) await context.note("asked", { at });
  // Within this attempt by a clock that does not jump; only what earlier attempts used up is wall time.
  const used = Math.min(Math.max(0, clock.now() - at), context.input.timeoutSeconds * 1000);
  const deadline = clock.monotonic() + context.input.timeoutSeconds * 1000 - used;
  try {
    await waitUntilOff(what, deadline, context);
  } catch (error) {
    if (context.cancelRequested && isCancelled(error))
      context.log("warn", `${vm.name} was asked to shut down already, and may still do so`);
    throw error;
  }
}

async function waitUntilOff({ host, vm, clock }: ShutDown, deadline: number, context: JobContext<VmStopInput>): Promise<void> {
  const { signal, input } = context;
  let askAt = -Infinity;
  for (;;) {
    const state = await stateOf(host, vm, signal);
    if (isOff(state)) return;
    if (state === "paused") throw new EngineError("conflict", `${vm.name} is paused and cannot shut down: resume it first, or turn it off`);
    const now = clock.monotonic();
    if (now >= deadline) {
      const text = `${vm.name} did not shut down within ${input.timeoutSeconds} s and runs on: look at its console, or turn it off`;
      throw new EngineError("timeout", text, { vm: vm.name, host: vm.host });
    }
    if (now >= askAt) {
      await host.shutdown(vm.id, { signal });
      askAt = now + askAgainMs;
    }
    context.progress({ phase: "waiting until the guest is off", remainingSeconds: Math.ceil((deadline - now) / 1000) });
    await clock.sleep(Math.min(lookMs, deadline - now), { signal });
  }
}

function isOff(state: VmFacts["state"]): boolean {
  return state === "off" || state === "crashed";
}

/** A VM without a definition is gone when it is off. */
async function stateOf(host: HypervisorHost, vm: VmView, signal: AbortSignal): Promise<VmFacts["state"]> {
  try {
    return (await host.vm(vm.id, { signal })).state;
  } catch (error) {
    if (error instanceof EngineError && error.kind === "not-found") return "off";
    throw error;
  }
}
