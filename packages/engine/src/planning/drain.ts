import { Board, type Seat } from "../placement/board.ts";
import { holdsMemory, type Site, type SiteVm } from "../placement/model.ts";
import { placeOn } from "../placement/place.ts";
import { explainPreference } from "../placement/prefer.ts";
import type { DrainEntry, DrainInput, DrainPlan, RoomRow } from "./drain-model.ts";
import { compareUrgency, pack } from "./pack.ts";
import { schedule, type ScheduledMove } from "./schedule.ts";

/** Where a link's speed is not known: 1 Gbit/s. */
const assumedBytesPerSecond = 125_000_000;

/** What happens to every VM of a host that is to be emptied, with the room on the others checked as a whole. Pure. */
export function planDrain(input: DrainInput): DrainPlan {
  const { site, hostId, to } = input;
  const host = site.hosts.find(({ id }) => id === hostId);
  const here = site.vms.filter((vm) => vm.hostId === hostId);
  const movable = here.filter((vm) => stuck(vm) === undefined && holdsMemory(vm));
  const board = new Board(site, new Set(movable.map(({ id }) => id)));
  const before = new Map(board.seats.map((seat) => [seat.host.id, seat.freeBytes]));
  const { placed, unplaced } = pack(movable, { site, board, only: to });
  const timed = order(placed, input);
  const moves = timed.moves.map((move, index) => moveEntry(move, index + 1, { site, board }));
  const blocked = [
    ...unplaced.map((vm) => blockedEntry(vm, { site, board }, to)),
    ...here.filter((vm) => stuck(vm) !== undefined).map((vm) => ({ ...base(vm), verdict: "blocked" as const, ...stuck(vm)! })),
  ];
  const stays = here.filter((vm) => !holdsMemory(vm)).map(stayEntry);
  return {
    hostId,
    host: host?.name ?? hostId,
    entries: [...moves, ...blocked, ...stays],
    room: board.seats.filter((seat) => seat.host.id !== hostId).map((seat) => room(seat, before, placed)),
    concurrency: timed.concurrency,
    scheduledMs: timed.totalMs,
    predictedMs: timed.totalMs,
    possible: blocked.length === 0,
  };
}

type Base = Pick<DrainEntry, "vmId" | "vm" | "memoryBytes" | "maximumPauseMs" | "pausePolicy" | "advice">;

function base({ id, name, memoryBytes, policy }: SiteVm): Base {
  const advice = policy.profiles.flatMap((profile) => profile.advice);
  const { maximumPauseMs, pausePolicy } = policy;
  return { vmId: id, vm: name, memoryBytes, maximumPauseMs, pausePolicy, ...(advice.length > 0 && { advice }) };
}

/** Why a VM that holds memory cannot move at all, wherever to. */
function stuck({ name, state, policy, localDisks }: SiteVm): Pick<DrainEntry, "reason" | "choice"> | undefined {
  if (state === "off" || state === "crashed") return undefined;
  if (state === "unknown") {
    const reason = { code: "unknown", text: `nobody knows how ${name} is: its host does not answer` };
    return { reason, choice: "bring the host back first" };
  }
  if (state !== "running") {
    const reason = { code: "state", text: `${name} is ${state}, and only a running guest moves live` };
    return { reason, choice: "let it run on, or shut it down" };
  }
  const kind = localDisks ? "shared-nothing" : "live";
  if (policy.allowedKinds.has(kind)) return undefined;
  const profiles = policy.profiles.filter(({ allowedKinds }) => !allowedKinds.includes(kind)).map(({ title }) => title);
  const reason = { code: "profile", text: `its workload (${profiles.join(", ")}) does not allow ${kind} migration` };
  return { reason, choice: `shut it down: godwit vm stop ${name}` };
}

function order(
  placed: ReadonlyMap<SiteVm, Seat>,
  { site, hostId, limit, cost, contention }: DrainInput,
): { readonly moves: readonly ScheduledMove<readonly [SiteVm, Seat]>[]; readonly concurrency: number; readonly totalMs: number } {
  const moves = [...placed].toSorted(([a], [b]) => compareUrgency(a, b));
  const speed = ({ host }: Seat): number => {
    const path = site.path(hostId, host.id);
    return ("none" in path ? undefined : path.bytesPerSecond) ?? assumedBytesPerSecond;
  };
  // The slowest end of each path is told; the source's own link is no slower than the fastest of them.
  const bytesPerSecond = Math.max(0, ...moves.map(([, seat]) => speed(seat))) || assumedBytesPerSecond;
  return schedule(moves, {
    cost: ([vm, seat]) => cost(vm, { hostId: seat.host.id, bytesPerSecond: speed(seat) }),
    destination: ([, seat]) => seat.host.id,
    sourceLimit: limit(hostId),
    destinationLimit: limit,
    bytesPerSecond,
    contention,
  });
}

interface Moment {
  readonly site: Site;
  readonly board: Board;
}

function moveEntry(
  { move: [vm, seat], startsAtMs, takesMs }: ScheduledMove<readonly [SiteVm, Seat]>,
  at: number,
  { site, board }: Moment,
): DrainEntry {
  const path = site.path(vm.hostId, seat.host.id);
  board.take(vm, seat);
  const why = explainPreference(vm, seat, board).map(({ text }) => text);
  board.put(vm, seat);
  return {
    ...base(vm),
    verdict: "move",
    order: at,
    kind: vm.localDisks ? "shared-nothing" : "live",
    destinationId: seat.host.id,
    destination: seat.host.name,
    ...("none" in path ? {} : { networkId: path.networkId, network: path.network }),
    storagePool: vm.localDisks?.pool,
    startsAtMs,
    predictedMs: takesMs,
    reason: { code: "chosen", text: why.join("; ") },
  };
}

function blockedEntry(vm: SiteVm, moment: Moment, only: ReadonlySet<string> | undefined): DrainEntry {
  const { hosts, reason } = placeOn(vm, moment, { only });
  const others = hosts.filter(({ hostId }) => hostId !== vm.hostId);
  const choices = others.slice(0, 3).map(({ host, changes }) => `${host}: ${changes.join(" and ")}`);
  const choice = [...choices, `or shut it down: godwit vm stop ${vm.name}`].join("; ");
  return { ...base(vm), verdict: "blocked", reason, choice, hosts: others };
}

function stayEntry(vm: SiteVm): DrainEntry {
  return { ...base(vm), verdict: "stay", reason: { code: "off", text: `${vm.name} is ${vm.state}: only its definition is here` } };
}

function room({ host, freeBytes }: Seat, before: ReadonlyMap<string, number>, placed: ReadonlyMap<SiteVm, Seat>): RoomRow {
  const arriving = [...placed.values()].filter((seat) => seat.host.id === host.id).length;
  return { hostId: host.id, host: host.name, freeBefore: before.get(host.id) ?? 0, freeAfter: freeBytes, arriving };
}
