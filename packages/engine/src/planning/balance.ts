import type { PausePolicy } from "../migration/index.ts";
import { Board, type Seat } from "../placement/board.ts";
import { fixedReasons, hasRoom } from "../placement/judge.ts";
import type { Site, SiteVm } from "../placement/model.ts";
import { comparePreferences, type Preference, preferenceOf } from "../placement/prefer.ts";

/** One move that makes the cluster more even. Loads are fractions of a host's memory. */
export interface BalanceMove {
  readonly vmId: string;
  readonly vm: string;
  readonly sourceId: string;
  readonly source: string;
  readonly destinationId: string;
  readonly destination: string;
  readonly network?: string | undefined;
  /** The pause that its workload bears, milliseconds. */
  readonly maximumPauseMs?: number | undefined;
  readonly pausePolicy?: PausePolicy | undefined;
  /** Why it is worth a move. */
  readonly reason: string;
}

export interface HostLoad {
  readonly hostId: string;
  readonly host: string;
  readonly before: number;
  readonly after: number;
}

export interface BalancePlan {
  readonly moves: readonly BalanceMove[];
  readonly loads: readonly HostLoad[];
  /** Why nothing, or nothing more, is moved. */
  readonly reason: string;
}

export interface BalanceInput {
  readonly site: Site;
  /** A host below this load is left alone, however idle the others are. Default 0.8, as failover clusters have it. */
  readonly actAbove?: number | undefined;
  /** A move must bring the two hosts nearer by at least this. Default 0.1. */
  readonly worthwhile?: number | undefined;
  /** Default 4: look again after these, with new facts. */
  readonly maximumMoves?: number | undefined;
  /** VMs that are to stay where they are, by id; those that were moved of late, say. */
  readonly rest?: ReadonlySet<string> | undefined;
}

/**
 * Moves that relieve hosts that are too full. One move too many is worse than one too few: nothing happens
 * below the threshold, each move must be worth it by a margin, must break no soft rule that is kept now, and no
 * VM is moved twice. Pure.
 */
export function planBalance(input: BalanceInput): BalancePlan {
  const { site, actAbove = 0.8, maximumMoves = 4 } = input;
  const board = new Board(site);
  const open = board.seats.filter(({ host }) => host.state === "up");
  const before = new Map(open.map((seat) => [seat, load(seat)]));
  const moves: BalanceMove[] = [];
  const resting = new Set(input.rest);
  const givers = new Set<Seat>();
  const guests = Map.groupBy(site.vms.filter(isMovable), ({ hostId }) => hostId);
  let reason = `no host is more than ${percent(actAbove)} full`;
  while (moves.length < maximumMoves) {
    const busy = open.filter((seat) => load(seat) > actAbove).toSorted((a, b) => load(b) - load(a));
    if (busy.length === 0) break;
    const step = firstStep(busy, { ...input, board, open, resting, guests, givers });
    if (!step) {
      reason = `${busy[0]!.host.name} is ${percent(load(busy[0]!))} full, but no move would be worth it without breaking a rule`;
      break;
    }
    resting.add(step.vm.id);
    givers.add(step.from);
    moves.push(describe(step, site));
    board.take(step.vm, step.from);
    board.put(step.vm, step.to);
    reason =
      moves.length === maximumMoves
        ? `${maximumMoves} moves are the most at a time`
        : `after these no host is more than ${percent(actAbove)} full`;
  }
  const loads = open.map((seat) => ({ hostId: seat.host.id, host: seat.host.name, before: before.get(seat)!, after: load(seat) }));
  return { moves, loads, reason };
}

interface Step {
  readonly vm: SiteVm;
  readonly from: Seat;
  readonly to: Seat;
  /** By how much the two hosts come nearer. */
  readonly gain: number;
}

interface Moment extends BalanceInput {
  readonly board: Board;
  readonly open: readonly Seat[];
  readonly resting: ReadonlySet<string>;
  readonly guests: ReadonlyMap<string, readonly SiteVm[]>;
  /** What they gave away makes no room for others: their memory may not be free yet. */
  readonly givers: ReadonlySet<Seat>;
}

/** The best step away from the fullest host that has one. */
function firstStep(busy: readonly Seat[], moment: Moment): Step | undefined {
  for (const from of busy) {
    let best: Step | undefined;
    for (const vm of moment.guests.get(from.host.id) ?? []) {
      if (moment.resting.has(vm.id)) continue;
      const step = bestStep(vm, from, moment);
      if (step && (!best || step.gain > best.gain)) best = step;
    }
    if (best) return best;
  }
  return undefined;
}

function bestStep(vm: SiteVm, from: Seat, { board, open, site, givers, worthwhile = 0.1 }: Moment): Step | undefined {
  let best: Step | undefined;
  board.take(vm, from);
  const stays = withoutLoad(preferenceOf(vm, from, board));
  for (const to of open) {
    if (to === from || givers.has(to) || !hasRoom(vm, to, board) || wouldContend(vm, from, to)) continue;
    if (comparePreferences(withoutLoad(preferenceOf(vm, to, board)), stays) > 0) continue;
    const apartBefore = load(from) + share(vm, from) - load(to);
    const apartAfter = Math.abs(load(from) - (load(to) + share(vm, to)));
    const gain = apartBefore - apartAfter;
    const better = !best || gain > best.gain + 1e-9 || (gain > best.gain - 1e-9 && load(to) < load(best.to));
    if (gain < worthwhile || !better || fixedReasons(vm, to.host, site).length > 0) continue;
    best = { vm, from, to, gain };
  }
  board.put(vm, from);
  return best;
}

/** CPUs this busy, or promised to this many vCPUs each, have nothing to give: then memory is no reason to go there. */
const busyCpus = 0.8;
const crowdedCpus = 4;

function wouldContend(vm: SiteVm, from: Seat, to: Seat): boolean {
  const [here, there] = [from.host.cpuBusy ?? 0, to.host.cpuBusy ?? 0];
  if (there > busyCpus && there > here) return true;
  const promised = (seat: Seat): number => (seat.vcpus + vm.vcpus) / Math.max(1, seat.host.cpus);
  return promised(to) > crowdedCpus && promised(to) > promised(from);
}

function withoutLoad([apart, preferred, together, spread]: Preference): Preference {
  return [apart, preferred, together, spread, 0];
}

function isMovable({ state, localDisks, policy }: SiteVm): boolean {
  return state === "running" && !localDisks && policy.allowedKinds.has("live");
}

/** Memory as guests were promised it, or as it is by measure: whichever is fuller. */
function load({ host, usedBytes, freeBytes }: Seat): number {
  return Math.max(usedBytes, host.memoryBytes - freeBytes) / Math.max(1, host.memoryBytes);
}

function share({ memoryBytes }: SiteVm, { host }: Seat): number {
  return memoryBytes / Math.max(1, host.memoryBytes);
}

function describe({ vm, from, to }: Step, site: Site): BalanceMove {
  const path = site.path(from.host.id, to.host.id);
  return {
    vmId: vm.id,
    vm: vm.name,
    sourceId: from.host.id,
    source: from.host.name,
    destinationId: to.host.id,
    destination: to.host.name,
    maximumPauseMs: vm.policy.maximumPauseMs,
    pausePolicy: vm.policy.pausePolicy,
    network: "none" in path ? undefined : path.network,
    reason: `${from.host.name} goes from ${percent(load(from))} to ${percent(load(from) - share(vm, from))} full, ${to.host.name} from ${percent(load(to))} to ${percent(load(to) + share(vm, to))}`,
  };
}

const percent = (fraction: number): string => `${Math.round(fraction * 100)} %`;
