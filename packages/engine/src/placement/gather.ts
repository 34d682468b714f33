import { posix } from "node:path";
import type { HostView, PoolView } from "../model/host.ts";
import type { NetworkInterface, NetworkVerdict } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import type { VmView } from "../model/vm.ts";
import type { Path, PlacementReason, Site, SiteHost, SiteVm } from "./model.ts";
import { policiesOf } from "./policy.ts";
import type { PlacementSettings } from "./rules.ts";

/** What placement needs of the inventory. */
export interface PlacementHosts {
  hosts(): HostView[];
  /** By id or name; throws `not-found`. */
  host(ref: string): HostView;
  vms(): VmView[];
  /** By id or name; throws `not-found` or `ambiguous`. */
  vm(ref: string): VmView;
  pools(): PoolView[];
}

/** What placement needs of the networks. */
export interface PlacementNetworks {
  verdicts(sourceId: string, destinationId: string): Promise<NetworkVerdict[]>;
  interfaces(filter: { readonly hostId: string; readonly networkId: string }): NetworkInterface[];
}

export interface GatherSite {
  readonly hosts: PlacementHosts;
  readonly networks: PlacementNetworks;
  readonly settings: PlacementSettings;
  readonly closed: (hostId: string) => Reason | undefined;
  /** Hosts that VMs may have to leave, by id: only their paths are looked up. */
  readonly sources: readonly string[];
  /** What was found out on the way. */
  readonly findings?: Findings | undefined;
}

/** What only a try could tell, such as the preflight of one migration. */
export interface Findings {
  readonly ruledOut: (vmId: string, hostId: string) => PlacementReason | undefined;
  /** The pool that a VM's disks must be copied out of, where they turned out not to be shared. */
  readonly localPool: (vmId: string) => string | undefined;
  /** What was free in a pool when it was looked at for this plan, bytes: the inventory knows what libvirt saw some time ago. */
  readonly room: (hostId: string, pool: string) => number | undefined;
}

/** Memory that guests cannot have: a twentieth of the host, at least this. */
const hostReserveBytes = 512 << 20;

/** The cluster as it is now, for placement. Makes no call to a host. */
export async function gatherSite(options: GatherSite): Promise<Site> {
  const { hosts, settings, closed, findings } = options;
  const views = hosts.hosts();
  const pools = Map.groupBy(
    hosts.pools().filter(({ active }) => active),
    ({ hostId }) => hostId,
  );
  const policy = policiesOf(settings, views);
  const paths = await pathsOf(views, options);
  const cpuOf = new Map(views.map(({ id, facts }) => [id, facts?.cpu]));
  return {
    hosts: views.map((host) => siteHost(host, { pools: pools.get(host.id) ?? [], closed, settings, findings })),
    vms: hosts.vms().map((vm): SiteVm => {
      const guestNetworks = [...new Set(vm.nics.flatMap(({ source }) => source ?? []))];
      const { id, name, hostId, state, memoryBytes, vcpus } = vm;
      const ruled = { id, name, hostId, state, memoryBytes, vcpus, guestNetworks };
      return {
        ...ruled,
        generationId: vm.generationId,
        ...cpuNeeds(vm, cpuOf.get(hostId)),
        localDisks: localDisks(vm, findings?.localPool(id)),
        policy: policy(ruled),
      };
    }),
    path: (source, destination) =>
      paths.get(`${source} ${destination}`) ?? { none: { code: "no-network", text: "whether a network connects them was not asked" } },
    ruledOut: findings?.ruledOut,
  };
}

function siteHost(
  { id, name, state, facts }: HostView,
  { pools, closed, settings, findings }: Pick<GatherSite, "closed" | "settings" | "findings"> & { readonly pools: readonly PoolView[] },
): SiteHost {
  const total = facts?.memoryBytes ?? 0;
  const reserve = Math.max(hostReserveBytes, total / 20);
  const free = facts?.freeMemoryBytes;
  const features = facts?.cpu.features ?? [];
  return {
    id,
    name,
    site: settings.sites[name] ?? settings.sites[id],
    state,
    closed: closed(id),
    memoryBytes: Math.max(0, total - reserve),
    freeMemoryBytes: free === undefined ? undefined : Math.max(0, free - reserve),
    cpus: facts?.cpu.count ?? 0,
    cpuBusy: facts?.cpu.busy,
    arch: facts?.cpu.arch ?? "unknown",
    vendor: facts?.cpu.vendor,
    features: features.length > 0 ? new Set(features) : undefined,
    pools: new Map(pools.map(({ name: pool, availableBytes }) => [pool, findings?.room(id, pool) ?? availableBytes])),
  };
}

/**
 * Only a guest that was given its host's CPU as it is needs just that. What a named model of the live
 * definition needs, the hypervisor itself says in the preflight.
 */
function cpuNeeds(vm: VmView, cpu: NonNullable<HostView["facts"]>["cpu"] | undefined): Pick<SiteVm, "arch" | "vendor" | "features"> {
  if (!cpu) return {};
  if (vm.domainType === "qemu" || vm.cpu.mode !== "host-passthrough") return { arch: cpu.arch };
  return { arch: cpu.arch, vendor: cpu.vendor, features: cpu.features };
}

function localDisks(vm: VmView, pool: string | undefined): SiteVm["localDisks"] {
  if (pool === undefined) return undefined;
  const disks = vm.disks.filter(({ device, readOnly }) => device === "disk" && !readOnly);
  return { pool, bytes: disks.reduce((sum, disk) => sum + (disk.capacityBytes ?? 0), 0) };
}

/** The pool of a VM's host that all of its writable disks are files of; undefined when there is no such pool. */
export function poolOfDisks(vm: VmView, pools: readonly PoolView[]): string | undefined {
  const disks = vm.disks.filter(({ device, readOnly }) => device === "disk" && !readOnly);
  const own = pools.filter(({ hostId, active }) => hostId === vm.hostId && active);
  const names = disks.map(
    ({ source }) =>
      source.pool ?? own.find(({ path }) => path !== undefined && source.path !== undefined && posix.dirname(source.path) === path)?.name,
  );
  const [first] = names;
  return names.every((name) => name === first) ? first : undefined;
}

async function pathsOf(views: readonly HostView[], { networks, sources }: GatherSite): Promise<Map<string, Path>> {
  const paths = new Map<string, Path>();
  for (const source of sources) {
    for (const { id } of views) {
      if (id !== source) paths.set(`${source} ${id}`, toPath(source, id, await networks.verdicts(source, id), networks));
    }
  }
  return paths;
}

function toPath(source: string, destination: string, verdicts: readonly NetworkVerdict[], networks: PlacementNetworks): Path {
  const chosen = verdicts.find(({ verdict }) => verdict === "chosen");
  if (!chosen) {
    const why = verdicts.map(({ network, reason }) => `${network}: ${reason.text}`).join("; ");
    return { none: { code: "no-network", text: why === "" ? "the cluster has no network" : why } };
  }
  const { networkId, network, sourceInterface, destinationInterface } = chosen;
  const speed = (hostId: string, name: string | undefined): number | undefined =>
    networks.interfaces({ hostId, networkId }).find((row) => row.interface === name)?.speedMbps;
  const speeds = [speed(source, sourceInterface), speed(destination, destinationInterface)].filter((one) => one !== undefined);
  return { networkId, network, bytesPerSecond: speeds.length > 0 ? Math.min(...speeds) * 125_000 : undefined };
}
