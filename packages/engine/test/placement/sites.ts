import { noPlacementSettings, type PlacementSettings } from "../../src/placement/rules.ts";
import type { PlacementReason, Site, SiteHost, SiteVm } from "../../src/placement/model.ts";
import { policiesOf } from "../../src/placement/policy.ts";

export const gib: number = 2 ** 30;

export type HostSketch = Partial<SiteHost> & { readonly name: string };
export type VmSketch = Partial<Omit<SiteVm, "policy">> & { readonly name: string; readonly on: string };

export interface SiteSketch {
  readonly hosts: readonly HostSketch[];
  readonly vms: readonly VmSketch[];
  readonly settings?: Partial<PlacementSettings>;
  readonly path?: Site["path"];
  readonly ruledOut?: (vmId: string, hostId: string) => PlacementReason | undefined;
}

/** Hosts of 8 GiB with 8 CPUs and VMs of 1 GiB with one vCPU, unless the sketch says otherwise; ids are names. */
export function siteOf({ hosts, vms, settings, path, ruledOut }: SiteSketch): Site {
  const full: SiteHost[] = hosts.map((host) => ({
    id: host.name,
    state: "up",
    memoryBytes: 8 * gib,
    cpus: 8,
    arch: "x86_64",
    pools: new Map(),
    ...host,
  }));
  const all: PlacementSettings = { ...noPlacementSettings, ...settings };
  const policy = policiesOf(all, full);
  return {
    hosts: full.map((host) => ({ ...host, site: host.site ?? all.sites[host.name] })),
    vms: vms.map(({ on, ...sketch }) => {
      const vm = { id: sketch.name, hostId: on, state: "running" as const, memoryBytes: gib, vcpus: 1, guestNetworks: [], ...sketch };
      return { ...vm, policy: policy(vm) };
    }),
    path: path ?? (() => ({ networkId: "n1", network: "migration", bytesPerSecond: 1e9 })),
    ruledOut,
  };
}

export function vmNamed(site: Site, name: string): SiteVm {
  const vm = site.vms.find((one) => one.name === name);
  if (!vm) throw new Error(`no VM ${name}`);
  return vm;
}
