import { holdsMemory, type Site, type SiteHost, type SiteVm } from "./model.ts";

/** What a host has left while a plan is being made. */
export interface Seat {
  readonly host: SiteHost;
  readonly index: number;
  freeBytes: number;
  usedBytes: number;
  vcpus: number;
  /** VMs by rule that keeps apart, together or spread. */
  readonly members: Map<string, number>;
  /** Of each pool that a plan copies into. */
  readonly pools: Map<string, number>;
  /** The tightest bound on vCPUs per CPU among its guests, and how many ask for it. */
  readonly ratios: Map<number, number>;
}

/** Who is where: VMs are put and taken while a plan is made, and every question is answered for that moment. */
export class Board {
  readonly seats: readonly Seat[];
  readonly #byId: ReadonlyMap<string, Seat>;
  /** Members of each rule by site of their host. */
  readonly #bySite = new Map<string, Map<string, number>>();
  readonly #total = new Map<string, number>();

  constructor(site: Site, leaveOut: ReadonlySet<string> = new Set()) {
    this.seats = site.hosts.map((host, index) => ({
      host,
      index,
      freeBytes: host.memoryBytes,
      usedBytes: 0,
      vcpus: 0,
      members: new Map(),
      pools: new Map(host.pools),
      ratios: new Map(),
    }));
    this.#byId = new Map(this.seats.map((seat) => [seat.host.id, seat]));
    const leftOut = new Map<Seat, number>();
    for (const vm of site.vms) {
      const seat = this.#byId.get(vm.hostId);
      if (!seat || !holdsMemory(vm)) continue;
      if (leaveOut.has(vm.id)) add(leftOut, seat, vm.memoryBytes);
      else this.#count(vm, seat, 1);
    }
    // What is free by measure already lacks what the guests of now use, those that are left out as well.
    for (const seat of this.seats)
      seat.freeBytes = Math.min(seat.freeBytes, (seat.host.freeMemoryBytes ?? Infinity) + (leftOut.get(seat) ?? 0));
  }

  seat(hostId: string): Seat | undefined {
    return this.#byId.get(hostId);
  }

  put(vm: SiteVm, seat: Seat): void {
    this.#count(vm, seat, 1);
    if (vm.localDisks) this.#pool(seat, vm.localDisks, -1);
  }

  take(vm: SiteVm, seat: Seat): void {
    this.#count(vm, seat, -1);
    if (vm.localDisks) this.#pool(seat, vm.localDisks, 1);
  }

  /** Members of a rule on a host. */
  mates(rule: string, seat: Seat): number {
    return seat.members.get(rule) ?? 0;
  }

  matesOnSite(rule: string, { host }: Seat): number {
    return this.#bySite.get(rule)?.get(host.site ?? host.id) ?? 0;
  }

  matesEverywhere(rule: string): number {
    return this.#total.get(rule) ?? 0;
  }

  #count(vm: SiteVm, seat: Seat, by: 1 | -1): void {
    seat.freeBytes -= by * vm.memoryBytes;
    seat.usedBytes += by * vm.memoryBytes;
    seat.vcpus += by * vm.vcpus;
    const { apart, together, spread, profiles } = vm.policy;
    for (const rules of [apart, together, spread]) for (const { rule } of rules) this.#member(rule, seat, by);
    for (const { maximumVcpusPerCpu } of profiles) if (maximumVcpusPerCpu !== undefined) add(seat.ratios, maximumVcpusPerCpu, by);
  }

  #member(rule: string, seat: Seat, by: 1 | -1): void {
    add(seat.members, rule, by);
    add(this.#total, rule, by);
    const sites = this.#bySite.get(rule) ?? new Map<string, number>();
    this.#bySite.set(rule, sites);
    add(sites, seat.host.site ?? seat.host.id, by);
  }

  #pool(seat: Seat, { pool, bytes }: { readonly pool: string; readonly bytes: number }, sign: 1 | -1): void {
    seat.pools.set(pool, (seat.pools.get(pool) ?? 0) + sign * bytes);
  }
}

function add<K>(map: Map<K, number>, key: K, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}
