import type { ConsistencyLevel } from "@godwit/vault";
import { filesPointName } from "../files/model.ts";
import type { BandwidthRule, Schedule } from "./schedule.ts";

/** Which VMs a group protects. A VM is a member when any list names it; names and hosts may have `*` and `?`. */
export interface MemberSelector {
  readonly names?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly hosts?: readonly string[] | undefined;
  readonly pools?: readonly string[] | undefined;
  /** Every VM that no other group selects by name, tag, host or pool. */
  readonly rest?: boolean | undefined;
  /** Never these, whatever the lists say. */
  readonly except?: readonly string[] | undefined;
}

/** How many points of each kind stay; see `vault prune`. */
export interface Retention {
  readonly last?: number | undefined;
  readonly hourly?: number | undefined;
  readonly daily?: number | undefined;
  readonly weekly?: number | undefined;
  readonly monthly?: number | undefined;
  readonly yearly?: number | undefined;
  /** Everything of so many days stays. */
  readonly withinDays?: number | undefined;
}

/** Captures at the same time; unlimited when absent. */
export interface GroupLimits {
  readonly perHost?: number | undefined;
  readonly perPool?: number | undefined;
  readonly perVault?: number | undefined;
}

export interface RetryPolicy {
  /** Tries after the first one, until the next time it is due. */
  readonly times: number;
  /** Before the first of them; doubled for each more. */
  readonly delayMinutes: number;
}

/** VMs that share schedule, retention, vault and options. */
export interface ProtectionGroup {
  readonly id: string;
  readonly name: string;
  readonly members: MemberSelector;
  /** Id of a registered vault. */
  readonly vaultId: string;
  readonly schedule: Schedule;
  /** Paths in its guests: their files are captured through the agent, instead of the VMs' disks. */
  readonly paths?: readonly string[] | undefined;
  readonly retention: Retention;
  readonly limits: GroupLimits;
  /** By the hours of the schedule's time zone; unlimited when absent. */
  readonly bandwidth?: readonly BandwidthRule[] | undefined;
  /** Cron lines in the schedule's time zone: the first capture after each of these moments is a consistency check. */
  readonly checks?: readonly string[] | undefined;
  readonly retry: RetryPolicy;
  /** A point at least every so many hours, or it is an alert. */
  readonly slaHours?: number | undefined;
  /** When a VM must move during its capture: the capture is parked and goes on there, or the move waits. */
  readonly onMigration: "park" | "finish";
  /** A lesser consistency fails the capture. */
  readonly atLeast: ConsistencyLevel;
  /** An http(s) URL that alerts are posted to, as JSON. */
  readonly webhook?: string | undefined;
  /** Nothing is started by itself while true. */
  readonly paused: boolean;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** The name of a group's points of a VM. */
export function pointNameOf({ name, paths }: Pick<ProtectionGroup, "name" | "paths">, vm: string): string {
  return paths ? filesPointName(vm, name) : vm;
}

/** One ended run, for reports. Bytes and milliseconds; times RFC 3339. */
export interface RunRecord {
  readonly jobId: string;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly outcome: "done" | "failed" | "cancelled";
  readonly pointId?: string | undefined;
  readonly readBytes?: number | undefined;
  readonly changedBytes?: number | undefined;
  readonly storedBytes?: number | undefined;
  readonly frozenMs?: number | undefined;
  readonly error?: string | undefined;
  /** Of a consistency check: bytes that differed from the last point though nobody had listed them as changed. */
  readonly unexpectedBytes?: number | undefined;
}

/** What the server remembers of one member of one group; all of it can be lost without losing a point. */
export interface MemberRecord {
  readonly groupId: string;
  readonly vmId: string;
  readonly vm: string;
  /** When it became a member. */
  readonly since: string;
  /** The due moment that the newest run was for, milliseconds since the epoch. */
  readonly dueAt?: number | undefined;
  /** In a row, since the last success or due moment. */
  readonly failures: number;
  readonly lastEndedAt?: string | undefined;
  readonly lastSuccessAt?: string | undefined;
  /** When the newest consistency check that ended well began. */
  readonly checkedAt?: string | undefined;
  /** What its disks held when they were read whole the last time: that run may be forgotten by now. */
  readonly wholeBytes?: number | undefined;
  /** The job that is under way. */
  readonly jobId?: string | undefined;
  /** It was seen that it is no member any more; it may become one again. */
  readonly left?: true | undefined;
  /** Newest last, at most {@link keptRuns}. */
  readonly runs: readonly RunRecord[];
}

export const keptRuns = 100;
