import type { CpuDescription } from "../ports/cpu.ts";

/** What one host's CPU has beyond the common set. */
export interface BaselineHost {
  readonly hostId: string;
  readonly host: string;
  readonly model?: string | undefined;
  readonly vendor?: string | undefined;
  readonly beyond: readonly string[];
  /** Why it could not be asked; it is then left out of the common set. */
  readonly problem?: string | undefined;
}

/** A running VM that was given more than the common set, so that it cannot go to every host. */
export interface BaselineVm {
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly beyond: readonly string[];
  readonly text: string;
}

export interface CpuBaseline {
  readonly model?: string | undefined;
  readonly vendor?: string | undefined;
  readonly features: readonly string[];
  /** For the `<cpu>` of a VM's definition; absent when the hosts have no model in common. */
  readonly document?: string | undefined;
  readonly hosts: readonly BaselineHost[];
  readonly vms: readonly BaselineVm[];
  readonly text: string;
}

export interface BaselineFacts {
  readonly hosts: readonly { readonly hostId: string; readonly host: string; readonly cpu: CpuDescription | Error }[];
  /** An error is why there is none: makers that differ, say. */
  readonly common: CpuDescription | Error;
  readonly vms: readonly {
    readonly vmId: string;
    readonly vm: string;
    readonly hostId: string;
    readonly given: readonly string[] | "host" | "default" | Error;
  }[];
}

/** The common CPU of a cluster, what each host has beyond it, and which VMs stop a narrowing to it. Pure. */
export function cpuBaseline({ hosts, common, vms }: BaselineFacts): CpuBaseline {
  const shared = new Set(common instanceof Error ? [] : common.features);
  const cpuOf = new Map(hosts.map(({ hostId, cpu }) => [hostId, cpu]));
  const nameOf = new Map(hosts.map(({ hostId, host }) => [hostId, host]));
  const rows = hosts.map(({ hostId, host, cpu }): BaselineHost =>
    cpu instanceof Error
      ? { hostId, host, beyond: [], problem: cpu.message }
      : { hostId, host, model: cpu.model, vendor: cpu.vendor, beyond: cpu.features.filter((feature) => !shared.has(feature)) },
  );
  const stopping = vms.flatMap(({ vmId, vm, hostId, given }): BaselineVm[] => {
    const cpu = cpuOf.get(hostId);
    const all =
      given === "host" ? (cpu instanceof Error || !cpu ? [] : cpu.features) : given === "default" || given instanceof Error ? [] : given;
    const beyond = all.filter((feature) => !shared.has(feature));
    if (beyond.length === 0) return [];
    const host = nameOf.get(hostId) ?? hostId;
    const how = given === "host" ? `it was given ${host}'s CPU as it is` : `it was given ${beyond.length} features more`;
    return [{ vmId, vm, host, beyond, text: `${how}: give it the baseline in its definition, and start it again` }];
  });
  const base = { features: [...shared].sort(), hosts: rows, vms: stopping };
  if (common instanceof Error) return { ...base, text: `the hosts have no CPU model in common: ${common.message}` };
  const stop = stopping.length === 0 ? "no running VM has more" : `${stopping.length} running VMs have more, and cannot go to every host`;
  const silent = rows.filter(({ problem }) => problem !== undefined).map(({ host }) => host);
  const whose = silent.length === 0 ? "all hosts" : `the hosts that could be asked (not ${silent.join(", ")})`;
  const text = `${common.model ?? "a CPU"} with ${shared.size} features is common to ${whose}; ${stop}`;
  return { ...base, model: common.model, vendor: common.vendor, document: common.document, text };
}
