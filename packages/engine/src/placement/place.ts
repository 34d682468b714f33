import type { Reason } from "../model/reason.ts";
import { Board, type Seat } from "./board.ts";
import { fixedReasons, roomReasons } from "./judge.ts";
import type { PlacementReason, Site, SiteVm } from "./model.ts";
import { comparePreferences, explainPreference, type Preference, preferenceOf } from "./prefer.ts";

/** What placement says of one host for one VM. */
export interface HostVerdict {
  readonly hostId: string;
  readonly host: string;
  readonly verdict: "chosen" | "fits" | "out";
  /** 1 is the best; absent when it is out. */
  readonly rank?: number | undefined;
  /** Of a host that fits: how well. Of one that is out: everything against it. */
  readonly reasons: readonly Reason[];
  /** What would have to change, one for each reason against it; empty when it fits. */
  readonly changes: readonly string[];
}

export interface Placement {
  readonly vmId: string;
  readonly vm: string;
  /** Absent when no host takes it. */
  readonly hostId?: string | undefined;
  readonly host?: string | undefined;
  readonly reason: Reason;
  /** Every host: the chosen one, the others in order, then those that are out, nearest first. */
  readonly hosts: readonly HostVerdict[];
}

export interface PlaceOptions {
  /** Only these hosts, by id. */
  readonly only?: ReadonlySet<string> | undefined;
  /** Also consider the host where it is. Default: false, for a VM that is to move. */
  readonly mayStay?: boolean | undefined;
}

/** Chooses a host for a VM, and says of every host why or why not. Pure; throws nothing. */
export function place(vm: SiteVm, site: Site, options: PlaceOptions = {}): Placement {
  const board = new Board(site, new Set([vm.id]));
  return placeOn(vm, { site, board }, options);
}

/** The same at a moment of a plan. */
export function placeOn(
  vm: SiteVm,
  { site, board }: { readonly site: Site; readonly board: Board },
  options: PlaceOptions = {},
): Placement {
  const fitting: { readonly seat: Seat; readonly preference: Preference }[] = [];
  const out: { readonly seat: Seat; readonly reasons: readonly PlacementReason[] }[] = [];
  for (const seat of board.seats) {
    const reasons = against(vm, seat, { site, board }, options);
    if (reasons.length > 0) out.push({ seat, reasons });
    else fitting.push({ seat, preference: preferenceOf(vm, seat, board) });
  }
  fitting.sort((a, b) => comparePreferences(a.preference, b.preference) || (a.seat.host.name < b.seat.host.name ? -1 : 1));
  const isHere = ({ seat }: { readonly seat: Seat }): number => Number(seat.host.id === vm.hostId);
  out.sort((a, b) => isHere(a) - isHere(b) || a.reasons.length - b.reasons.length || (a.seat.host.name < b.seat.host.name ? -1 : 1));
  const [best] = fitting;
  return {
    vmId: vm.id,
    vm: vm.name,
    hostId: best?.seat.host.id,
    host: best?.seat.host.name,
    reason: best ? chosenReason(vm, best.seat, { board, others: fitting.length - 1 }) : nowhereReason(vm, out),
    hosts: [
      ...fitting.map(({ seat }, index): HostVerdict => {
        const verdict = index === 0 ? "chosen" : "fits";
        return { ...named(seat), verdict, rank: index + 1, reasons: explainPreference(vm, seat, board), changes: [] };
      }),
      ...out.map(({ seat, reasons }): HostVerdict => ({
        ...named(seat),
        verdict: "out",
        reasons: reasons.map(({ code, text }) => ({ code, text })),
        changes: reasons.map(({ change }) => change),
      })),
    ],
  };
}

function against(
  vm: SiteVm,
  seat: Seat,
  { site, board }: { readonly site: Site; readonly board: Board },
  { only, mayStay = false }: PlaceOptions,
): PlacementReason[] {
  const { id, name } = seat.host;
  if (id === vm.hostId && !mayStay) return [{ code: "same-host", text: `${vm.name} is on ${name} already`, change: "name another host" }];
  const named =
    only && !only.has(id)
      ? [{ code: "not-asked", text: `${name} is not among the hosts that were named`, change: `name ${name} as well` }]
      : [];
  return [...named, ...fixedReasons(vm, seat.host, site), ...roomReasons(vm, seat, board)];
}

function named({ host }: Seat): Pick<HostVerdict, "hostId" | "host"> {
  return { hostId: host.id, host: host.name };
}

function chosenReason(vm: SiteVm, seat: Seat, { board, others }: { readonly board: Board; readonly others: number }): Reason {
  const why = explainPreference(vm, seat, board).map(({ text }) => text);
  const compared = others === 0 ? "the only host that takes it" : `best of ${others + 1} hosts that take it`;
  return { code: "chosen", text: `${compared}: ${why.join("; ")}` };
}

function nowhereReason(vm: SiteVm, out: readonly { readonly seat: Seat; readonly reasons: readonly PlacementReason[] }[]): Reason {
  const [nearest] = out.filter(({ seat }) => seat.host.id !== vm.hostId);
  if (!nearest) return { code: "no-host", text: "there is no other host" };
  const texts = nearest.reasons.map(({ text }) => text).join("; ");
  return { code: "no-host", text: `no host takes ${vm.name}; nearest is ${nearest.seat.host.name}: ${texts}` };
}
