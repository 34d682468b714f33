import type { PausePolicy } from "../migration/index.ts";
import type { Reason } from "../model/reason.ts";
import type { Site, SiteVm } from "../placement/model.ts";
import type { HostVerdict } from "../placement/place.ts";
import type { MoveKind } from "../placement/rules.ts";
import type { MoveCost } from "./schedule.ts";

/** What a drain plan says of one VM on the host. */
export interface DrainEntry {
  readonly vmId: string;
  readonly vm: string;
  /**
   * - `move`: it goes, as said
   * - `stay`: it is off, and does not keep the host from being worked on
   * - `blocked`: it runs and cannot go; `choice` says what can be done
   */
  readonly verdict: "move" | "stay" | "blocked";
  /** Place in the order of the moves, from 1. */
  readonly order?: number | undefined;
  readonly kind?: MoveKind | undefined;
  readonly destinationId?: string | undefined;
  readonly destination?: string | undefined;
  readonly networkId?: string | undefined;
  readonly network?: string | undefined;
  /** The pool that its disks are copied into. */
  readonly storagePool?: string | undefined;
  /** The pause that its workload or its rules allow, milliseconds. */
  readonly maximumPauseMs?: number | undefined;
  /** What happens when that is not enough; absent: it is given up. */
  readonly pausePolicy?: PausePolicy | undefined;
  readonly memoryBytes: number;
  /** From the start of the drain, milliseconds. */
  readonly startsAtMs?: number | undefined;
  readonly predictedMs?: number | undefined;
  readonly predictedPauseMs?: number | undefined;
  readonly reason: Reason;
  readonly choice?: string | undefined;
  /** Of a blocked one: every host with everything against it. */
  readonly hosts?: readonly HostVerdict[] | undefined;
  /** What its workload profile wants its owner to know. */
  readonly advice?: readonly string[] | undefined;
}

/** Room for guests on one of the other hosts, bytes. */
export interface RoomRow {
  readonly hostId: string;
  readonly host: string;
  readonly freeBefore: number;
  readonly freeAfter: number;
  readonly arriving: number;
}

export interface DrainPlan {
  readonly hostId: string;
  readonly host: string;
  /** Moves in their order, then what is blocked, then what stays. Every VM of the host once. */
  readonly entries: readonly DrainEntry[];
  readonly room: readonly RoomRow[];
  readonly concurrency: number;
  /** By the moves' own forecasts alone, milliseconds. */
  readonly scheduledMs: number;
  /** The same at the pace at which drains have been going here. */
  readonly predictedMs: number;
  /** Nothing that runs is left over. */
  readonly possible: boolean;
}

export interface DrainRequest {
  readonly hostId: string;
  /** Only to these hosts, by id. */
  readonly to?: ReadonlySet<string> | undefined;
  /** Simultaneous live migrations of a host. */
  readonly limit: (hostId: string) => number;
  /** Of a move over that path. */
  readonly cost: (vm: SiteVm, to: { readonly hostId: string; readonly bytesPerSecond: number }) => MoveCost;
  /** How much moves at the same time hold each other up: see `ScheduleOptions`. */
  readonly contention?: number | undefined;
}

/** Facts in, plan out. */
export interface DrainInput extends DrainRequest {
  readonly site: Site;
}
