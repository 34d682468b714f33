import { EngineError } from "../model/errors.ts";
import type { VmFacts, VmView } from "../model/vm.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";

/** What starting and stopping VMs needs of the inventory. */
export interface PowerHosts {
  /** Throws `not-found` or `ambiguous`. */
  vm(ref: string): VmView;
  /** Throws `host-lost` while the host does not answer. */
  hypervisor(hostRef: string): HypervisorHost;
  /** Asks the host now, so that the inventory shows what the job did. */
  refreshVm(hostRef: string, vmId: string, options: { readonly signal: AbortSignal }): Promise<VmFacts | undefined>;
}

export interface PowerResult {
  readonly vmId: string;
  readonly vm: string;
  readonly hostId: string;
  readonly host: string;
  readonly state: VmFacts["state"];
}

/** The VM where it is now. Nothing is begun on a guess: an unknown state is an error. */
export function knownVm(hosts: PowerHosts, vmId: string): VmView {
  const vm = hosts.vm(vmId);
  if (vm.state !== "unknown") return vm;
  throw new EngineError("host-lost", `nobody knows how ${vm.name} is: host ${vm.host} does not answer`, { vm: vm.name, host: vm.host });
}

/** Tells the inventory, and gives the job's result. */
export async function powerResult(hosts: PowerHosts, vm: VmView, signal: AbortSignal): Promise<PowerResult> {
  const facts = await hosts.refreshVm(vm.hostId, vm.id, { signal });
  return { vmId: vm.id, vm: vm.name, hostId: vm.hostId, host: vm.host, state: facts?.state ?? "off" };
}
