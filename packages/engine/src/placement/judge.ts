import type { Board, Seat } from "./board.ts";
import type { PlacementReason, Site, SiteHost, SiteVm } from "./model.ts";

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** Everything against a VM on a host that stays so while a plan is made. Empty when nothing is. */
export function fixedReasons(vm: SiteVm, host: SiteHost, site: Site): PlacementReason[] {
  const found = site.ruledOut?.(vm.id, host.id);
  return [...state(host), ...possible(vm, host), ...cpu(vm, host), ...reach(vm, host), ...path(vm, host, site), ...(found ? [found] : [])];
}

/** What speaks against it at this moment of the plan: room, and who is there already. */
export function roomReasons(vm: SiteVm, seat: Seat, board: Board): PlacementReason[] {
  return [...memory(vm, seat), ...apart(vm, seat, board), ...ratio(vm, seat), ...pool(vm, seat)];
}

/** The same question without the words: plans ask it very often. */
export function hasRoom(vm: SiteVm, seat: Seat, board: Board): boolean {
  if (vm.memoryBytes > seat.freeBytes) return false;
  if (vm.policy.apart.some(({ rule, enforced }) => enforced && board.mates(rule, seat) > 0)) return false;
  if (vm.localDisks && (seat.pools.get(vm.localDisks.pool) ?? 0) < vm.localDisks.bytes) return false;
  return vcpuLimit(vm, seat) === undefined;
}

/** Only what the site decided itself; the rest of a preflight is the hypervisors' to say. */
export function ruleReasons(vm: SiteVm, seat: Seat, board: Board): PlacementReason[] {
  const { closed, name } = seat.host;
  return [
    ...(closed ? [{ ...closed, change: `end it with: godwit host resume ${name}` }] : []),
    ...possible(vm, seat.host),
    ...apart(vm, seat, board),
    ...ratio(vm, seat),
  ];
}

function state({ name, state, closed }: SiteHost): PlacementReason[] {
  if (state !== "up") return [{ code: "host-state", text: `${name} is ${state}`, change: `bring ${name} back` }];
  return closed ? [{ ...closed, change: `end it with: godwit host resume ${name}` }] : [];
}

function possible({ policy, name }: SiteVm, host: SiteHost): PlacementReason[] {
  return policy.possibleHosts
    .filter(({ hosts }) => !hosts.has(host.id))
    .map(({ rule, names }) => ({
      code: "possible-hosts",
      text: `rule '${rule}' lets ${name} run on ${names.join(", ") || "no host"} only`,
      change: `add ${host.name} to the possible hosts of rule '${rule}'`,
    }));
}

const maxFeatures = 6;

function cpu(vm: SiteVm, host: SiteHost): PlacementReason[] {
  const reasons: PlacementReason[] = [];
  const say = (code: string, text: string, change: string): number => reasons.push({ code, text, change });
  if (vm.arch !== undefined && vm.arch !== host.arch) {
    say("cpu-arch", `${vm.name} is a guest for ${vm.arch}, ${host.name} is ${host.arch}`, `choose a host for ${vm.arch}`);
  }
  if (vm.vendor !== undefined && host.vendor !== undefined && vm.vendor !== host.vendor) {
    say("cpu-vendor", `${vm.name} was given a CPU by ${vm.vendor}, ${host.name} has one by ${host.vendor}`, "move it while it is off");
  }
  const missing = host.features ? (vm.features ?? []).filter((feature) => !host.features?.has(feature)) : [];
  if (missing.length > 0) {
    const more = missing.length > maxFeatures ? ` and ${missing.length - maxFeatures} more` : "";
    const text = `the CPU of ${host.name} lacks ${missing.slice(0, maxFeatures).join(", ")}${more}, which ${vm.name} was given`;
    say("cpu-features", text, "give it the cluster's baseline (godwit cpu baseline) and start it again");
  }
  if (vm.vcpus > host.cpus) {
    say("cpu-count", `${vm.name} has ${vm.vcpus} vCPUs, ${host.name} has ${host.cpus} CPUs`, `give ${vm.name} fewer vCPUs`);
  }
  return reasons;
}

function reach(vm: SiteVm, host: SiteHost): PlacementReason[] {
  const { guestNetworks } = host;
  const absent = guestNetworks ? vm.guestNetworks.filter((network) => !guestNetworks.has(network)) : [];
  const reasons: PlacementReason[] = absent.map((network) => ({
    code: "guest-network",
    text: `${host.name} has no '${network}', which a network card of ${vm.name} plugs into`,
    change: `create '${network}' on ${host.name}`,
  }));
  if (vm.localDisks && !host.pools.has(vm.localDisks.pool)) {
    reasons.push({
      code: "storage",
      text: `the disks of ${vm.name} are in the pool '${vm.localDisks.pool}' of its host, and ${host.name} has no active pool of that name`,
      change: `create the pool on ${host.name}, or move the disks to shared storage`,
    });
  }
  return reasons;
}

function path({ hostId, name }: SiteVm, host: SiteHost, site: Site): PlacementReason[] {
  if (hostId === host.id) return [];
  const way = site.path(hostId, host.id);
  if (!("none" in way)) return [];
  return [
    {
      code: way.none.code,
      text: `no network may carry ${name} to ${host.name}: ${way.none.text}`,
      change: "see: godwit migration explain",
    },
  ];
}

function memory(vm: SiteVm, { host, freeBytes }: Seat): PlacementReason[] {
  if (vm.memoryBytes <= freeBytes) return [];
  return [
    {
      code: "memory",
      text: `${vm.name} needs ${gib(vm.memoryBytes)}, ${host.name} has room for ${gib(Math.max(0, freeBytes))}`,
      change: `free ${gib(vm.memoryBytes - freeBytes)} on ${host.name}`,
    },
  ];
}

function apart({ policy, name }: SiteVm, seat: Seat, board: Board): PlacementReason[] {
  return policy.apart
    .filter(({ rule, enforced }) => enforced && board.mates(rule, seat) > 0)
    .map(({ rule }) => ({
      code: "anti-affinity",
      text: `rule '${rule}' keeps ${name} apart from a VM on ${seat.host.name}`,
      change: `move the other VM away, or let rule '${rule}' prefer instead of enforce`,
    }));
}

function vcpuLimit(vm: SiteVm, { host, vcpus, ratios }: Seat): number | undefined {
  let limit = Infinity;
  for (const { maximumVcpusPerCpu } of vm.policy.profiles) limit = Math.min(limit, maximumVcpusPerCpu ?? Infinity);
  for (const [ratio, guests] of ratios) if (guests > 0) limit = Math.min(limit, ratio);
  return vcpus + vm.vcpus > limit * host.cpus ? limit : undefined;
}

function ratio(vm: SiteVm, seat: Seat): PlacementReason[] {
  const limit = vcpuLimit(vm, seat);
  if (limit === undefined) return [];
  const { host, vcpus } = seat;
  return [
    {
      code: "vcpu-ratio",
      text: `a workload profile allows ${limit} vCPUs per CPU, and ${host.name} would have ${vcpus + vm.vcpus} on ${host.cpus}`,
      change: `move other VMs away from ${host.name}`,
    },
  ];
}

function pool(vm: SiteVm, { host, pools }: Seat): PlacementReason[] {
  const free = vm.localDisks && pools.get(vm.localDisks.pool);
  if (!vm.localDisks || free === undefined || free >= vm.localDisks.bytes) return [];
  return [
    {
      code: "storage-room",
      text: `its disks may grow to ${gib(vm.localDisks.bytes)}, '${vm.localDisks.pool}' of ${host.name} has ${gib(Math.max(0, free))} free`,
      change: `free space in '${vm.localDisks.pool}' of ${host.name}`,
    },
  ];
}
