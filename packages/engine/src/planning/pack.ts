import type { Board, Seat } from "../placement/board.ts";
import { fixedReasons, hasRoom } from "../placement/judge.ts";
import type { Site, SiteVm } from "../placement/model.ts";
import { comparePreferences, type Preference, preferenceOf } from "../placement/prefer.ts";
import type { VmPriority } from "../placement/rules.ts";

export interface PackOptions {
  readonly site: Site;
  /** Without the VMs that are to be placed; has them when `pack` returns. */
  readonly board: Board;
  /** Hosts that may take them, by id. */
  readonly only?: ReadonlySet<string> | undefined;
}

export interface Packed {
  readonly placed: ReadonlyMap<SiteVm, Seat>;
  readonly unplaced: readonly SiteVm[];
}

/** How many other VMs may have to make room for one, in a chain. */
const chainLength = 3;
/** Attempts to make room for one VM. */
const repairBudget = 2000;
/** Steps of the search through everything; a few dozen VMs on a few hosts are searched to the end. */
const searchBudget = 200_000;
/** More VMs than this are not searched through: the chains of repairs must do. */
const searchableVms = 300;

const rankOf: Readonly<Record<VmPriority, number>> = { high: 0, medium: 1, low: 2, "no-auto-start": 3 };

/** High before low, then start groups, then large before small: who comes late finds less room. */
export function compareUrgency(a: SiteVm, b: SiteVm): number {
  return (
    rankOf[a.policy.priority] - rankOf[b.policy.priority] ||
    a.policy.startGroup - b.policy.startGroup ||
    b.memoryBytes - a.memoryBytes ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1)
  );
}

/**
 * Finds a host for each of the VMs at once. Each gets the host that suits it best; when there is none left,
 * VMs that were placed before make room in a chain; when that fails, too, all combinations are searched as far
 * as the budget goes. So a VM is left over only when no host takes it, or the search was too large to end.
 */
export function pack(vms: readonly SiteVm[], options: PackOptions): Packed {
  const packer = new Packer(vms, options);
  packer.greedy();
  if (packer.unplaced().length > 0) packer.search();
  return { placed: packer.placed, unplaced: packer.unplaced() };
}

class Packer {
  readonly placed = new Map<SiteVm, Seat>();
  readonly #vms: readonly SiteVm[];
  readonly #board: Board;
  readonly #candidates: ReadonlyMap<SiteVm, readonly Seat[]>;
  readonly #guests = new Map<Seat, Set<SiteVm>>();
  #budget = 0;

  constructor(vms: readonly SiteVm[], { site, board, only }: PackOptions) {
    this.#vms = vms.toSorted(compareUrgency);
    this.#board = board;
    for (const seat of board.seats) this.#guests.set(seat, new Set());
    const admitted = board.seats.filter(({ host }) => only?.has(host.id) ?? true);
    this.#candidates = new Map(
      vms.map((vm) => [vm, admitted.filter(({ host }) => host.id !== vm.hostId && fixedReasons(vm, host, site).length === 0)]),
    );
  }

  unplaced(): SiteVm[] {
    return this.#vms.filter((vm) => !this.placed.has(vm));
  }

  greedy(): void {
    for (const vm of this.#vms) {
      const seat = this.#best(vm);
      if (seat) this.#put(vm, seat);
      else {
        this.#budget = repairBudget;
        this.#makeRoom(vm, chainLength);
      }
    }
  }

  /** Everything from the start, largest first; keeps what there is unless all fit. */
  search(): void {
    const searched = this.#vms.filter((vm) => (this.#candidates.get(vm)?.length ?? 0) > 0);
    if (searched.length > searchableVms || searched.length === this.placed.size) return;
    const before = new Map(this.placed);
    for (const [vm, seat] of before) this.#take(vm, seat);
    const choices = (vm: SiteVm): number => this.#candidates.get(vm)?.length ?? 0;
    const order = searched.toSorted((a, b) => b.memoryBytes - a.memoryBytes || choices(a) - choices(b));
    this.#budget = searchBudget;
    if (this.#descend(order, 0)) return;
    for (const [vm, seat] of this.placed) this.#take(vm, seat);
    for (const [vm, seat] of before) this.#put(vm, seat);
  }

  #descend(order: readonly SiteVm[], at: number): boolean {
    const vm = order[at];
    if (!vm) return true;
    for (const seat of this.#fitting(vm)) {
      if (this.#budget <= 0) return false;
      this.#budget -= 1;
      this.#put(vm, seat);
      if (this.#descend(order, at + 1)) return true;
      this.#take(vm, seat);
    }
    return false;
  }

  /** Takes one VM off a host that could have this one, and finds another host for it; or gives up and undoes. */
  #makeRoom(vm: SiteVm, links: number): boolean {
    for (const seat of this.#candidates.get(vm) ?? []) {
      for (const other of [...(this.#guests.get(seat) ?? [])].toSorted((a, b) => a.memoryBytes - b.memoryBytes)) {
        if (this.#budget <= 0) return false;
        this.#budget -= 1;
        this.#take(other, seat);
        if (hasRoom(vm, seat, this.#board)) {
          this.#put(vm, seat);
          const elsewhere = this.#best(other);
          if (elsewhere) {
            this.#put(other, elsewhere);
            return true;
          }
          if (links > 1 && this.#makeRoom(other, links - 1)) return true;
          this.#take(vm, seat);
        }
        this.#put(other, seat);
      }
    }
    return false;
  }

  #best(vm: SiteVm): Seat | undefined {
    let best: { readonly seat: Seat; readonly preference: Preference } | undefined;
    for (const seat of this.#candidates.get(vm) ?? []) {
      if (!hasRoom(vm, seat, this.#board)) continue;
      const preference = preferenceOf(vm, seat, this.#board);
      if (!best || comparePreferences(preference, best.preference) < 0) best = { seat, preference };
    }
    return best?.seat;
  }

  #fitting(vm: SiteVm): Seat[] {
    return (this.#candidates.get(vm) ?? [])
      .filter((seat) => hasRoom(vm, seat, this.#board))
      .map((seat) => ({ seat, preference: preferenceOf(vm, seat, this.#board) }))
      .toSorted((a, b) => comparePreferences(a.preference, b.preference))
      .map(({ seat }) => seat);
  }

  #put(vm: SiteVm, seat: Seat): void {
    this.#board.put(vm, seat);
    this.placed.set(vm, seat);
    this.#guests.get(seat)?.add(vm);
  }

  #take(vm: SiteVm, seat: Seat): void {
    this.#board.take(vm, seat);
    this.placed.delete(vm);
    this.#guests.get(seat)?.delete(vm);
  }
}
