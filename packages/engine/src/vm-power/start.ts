import type { JsonObject } from "@godwit/core";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { Reason } from "../model/reason.ts";
import type { VmFacts, VmView } from "../model/vm.ts";
import { knownVm, type PowerHosts, powerResult } from "./hosts.ts";

export interface VmStartInput extends JsonObject {
  readonly vmId: string;
  readonly vm: string;
}

/** The job that starts a VM on the host where it is defined. `closed` says why a host takes no VM now. */
export function vmStartKind(hosts: PowerHosts, closed: (hostId: string) => Reason | undefined = () => undefined): JobKind<VmStartInput> {
  return {
    kind: "vm.start",
    title: ({ vm }) => `Start ${vm}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [],
    async run(context) {
      const { signal, input } = context;
      const vm = knownVm(hosts, input.vmId);
      checkOpen(vm, closed(vm.hostId));
      await context.step("start", () => start(hosts, vm, context));
      return await powerResult(hosts, vm, signal);
    },
  };
}

async function start(hosts: PowerHosts, vm: VmView, context: JobContext<VmStartInput>): Promise<void> {
  const { signal } = context;
  signal.throwIfAborted();
  const host = hosts.hypervisor(vm.hostId);
  const { state } = await host.vm(vm.id, { signal });
  if (context.recorded("asked") !== undefined && state === "running") {
    context.log("info", `${vm.name} runs on ${vm.host}: the interrupted attempt had started it`);
    return;
  }
  checkStartable(vm, state);
  await context.note("asked", { host: vm.host });
  await host.start(vm.id, { signal });
  context.log("info", `${vm.name} was started on ${vm.host}`);
}

function checkOpen({ name, host }: VmView, reason: Reason | undefined): void {
  if (!reason) return;
  const check = {
    id: "maintenance",
    verdict: "fail",
    text: `${host}: ${reason.text}`,
    remedy: `end it with: godwit host resume ${host}`,
  } as const;
  throw refusal(`${name} cannot be started on ${host}`, [check]);
}

function checkStartable({ name, host }: VmView, state: VmFacts["state"]): void {
  if (state === "off" || state === "crashed") return;
  const facts = { vm: name, host, state };
  if (state === "running") throw new EngineError("conflict", `${name} runs already, on ${host}`, facts);
  throw new EngineError("conflict", `${name} cannot be started: it is ${state} on ${host}`, facts);
}
