import { EngineError } from "../model/errors.ts";
import type { Retention } from "./groups/model.ts";

/** A VM as it is, or as it shall be. Bytes; ratios are stored over original. */
export interface PlannedVm {
  readonly name: string;
  /** What its disks hold, not their virtual size. */
  readonly usedBytes: number;
  /** Distinct bytes that change in a day. */
  readonly churnBytesPerDay: number;
  /** What compression and dedupe leave of new data. Measured, or 0.6 where nothing is known. */
  readonly storedRatio?: number | undefined;
  /** Where the figures come from, for people: `measured over 12 days`, `given`. */
  readonly evidence: string;
}

export interface StoragePlanInput {
  readonly vms: readonly PlannedVm[];
  readonly retention: Retention;
  readonly pointsPerDay: number;
  /** Bytes per second that a capture reads and stores; for the length of the window. */
  readonly bytesPerSecond: number;
  /** Days to look ahead. Default 365. */
  readonly days?: number | undefined;
  /** The whole grows by so much in a year. */
  readonly growthPerYear?: number | undefined;
}

/** All in bytes, but for the window. */
export interface StoragePlan {
  /** Vault size after so many days, at 1, 7, 30, 90, 180, 365 and the last day. */
  readonly vault: readonly { readonly day: number; readonly bytes: number }[];
  /** What the largest capture of a day may need beside the guests' disks while it runs. */
  readonly scratchBytes: number;
  /** Seconds that all captures of one moment take, one after the other: the first time, and then. */
  readonly firstWindowSeconds: number;
  readonly windowSeconds: number;
  /** What Data Protection Manager's rule gives for the same VMs: replica plus recovery-point volume. */
  readonly dpm: { readonly replicaBytes: number; readonly recoveryPointBytes: number; readonly rule: string };
  readonly assumptions: readonly string[];
}

const defaultRatio = 0.6;
const milestones = [1, 7, 30, 90, 180, 365] as const;
const mib = 2 ** 20;

/**
 * How large a vault becomes. Every kept point adds the blocks that changed since the kept one before it; over
 * more days the same blocks change again, so distinct change grows as used x (1 - e^(-churn x days / used)).
 * Throws `invalid` for figures that make no sense.
 */
export function planStorage(input: StoragePlanInput): StoragePlan {
  check(input);
  const { vms, pointsPerDay, bytesPerSecond, growthPerYear = 0 } = input;
  const lastDay = input.days ?? 365;
  const days = [...new Set([...milestones.filter((day) => day < lastDay), lastDay])];
  const grown = (day: number): number => 1 + (growthPerYear * day) / 365;
  const sizeOn = (day: number): number =>
    vms.reduce((sum, vm) => sum + (vm.usedBytes * grown(day) + keptChange(vm, input, day)) * (vm.storedRatio ?? defaultRatio), 0);
  const used = vms.reduce((sum, vm) => sum + vm.usedBytes, 0);
  const perPoint = vms.map((vm) => distinctChange(vm, 1 / pointsPerDay));
  return {
    vault: days.map((day) => ({ day, bytes: Math.round(sizeOn(day)) })),
    scratchBytes: Math.round(Math.max(0, ...vms.map((vm) => scratchOf(vm, bytesPerSecond)))),
    firstWindowSeconds: used / bytesPerSecond,
    windowSeconds: perPoint.reduce((sum, bytes) => sum + bytes, 0) / bytesPerSecond,
    dpm: dpmRule(vms, input),
    assumptions: [
      ...vms.map((vm) => `${vm.name}: ${vm.evidence}${vm.storedRatio === undefined ? `, stored ratio ${defaultRatio} assumed` : ""}`),
      "blocks change at random within what is used; equal blocks of different VMs are counted twice",
    ],
  };
}

/** Bytes that changed at least once in so many days. */
export function distinctChange({ usedBytes, churnBytesPerDay }: PlannedVm, days: number): number {
  return usedBytes === 0 ? 0 : usedBytes * (1 - Math.exp((-churnBytesPerDay * days) / usedBytes));
}

/** What the points that a policy keeps hold beside the newest one. */
function keptChange(vm: PlannedVm, { retention, pointsPerDay }: StoragePlanInput, day: number): number {
  const ages = keptAges(retention, pointsPerDay).filter((age) => age <= day);
  let [before, sum] = [0, 0];
  for (const age of ages) {
    sum += distinctChange(vm, age - before);
    before = age;
  }
  return sum;
}

/** Ages of the points that stay, in days, youngest first, without the newest. */
export function keptAges(retention: Retention, pointsPerDay: number): number[] {
  const every = (count: number | undefined, days: number): number[] => Array.from({ length: count ?? 0 }, (_, index) => index * days);
  const within = Math.floor((retention.withinDays ?? 0) * pointsPerDay);
  const ages = [
    ...every(retention.last, 1 / pointsPerDay),
    ...every(within, 1 / pointsPerDay),
    ...every(retention.hourly, Math.max(1 / 24, 1 / pointsPerDay)),
    ...every(retention.daily, Math.max(1, 1 / pointsPerDay)),
    ...every(retention.weekly, 7),
    ...every(retention.monthly, 30.44),
    ...every(retention.yearly, 365.25),
  ];
  return [...new Set(ages.map((age) => Math.round(age * 1440) / 1440))].filter((age) => age > 0).sort((a, b) => a - b);
}

/** Copy-before-write during a full read: what the guest overwrites while it is read. */
function scratchOf(vm: PlannedVm, bytesPerSecond: number): number {
  return distinctChange(vm, vm.usedBytes / bytesPerSecond / 86_400) + 16 * mib;
}

/**
 * The sizing rule that Data Protection Manager's calculators began with and still use: a VM's replica is its size
 * times 3/2, its recovery-point volume is size x retention range in days x 2 % + 1600 MB.
 */
function dpmRule(vms: readonly PlannedVm[], { retention, pointsPerDay }: StoragePlanInput): StoragePlan["dpm"] {
  const used = vms.reduce((sum, vm) => sum + vm.usedBytes, 0);
  const range = Math.ceil(keptAges(retention, pointsPerDay).at(-1) ?? 1);
  return {
    replicaBytes: Math.round(used * 1.5),
    recoveryPointBytes: Math.round(used * range * 0.02 + 1600 * mib * vms.length),
    rule: `replica: data x 3/2; recovery points: data x ${range} days x 2 % + 1600 MB for each`,
  };
}

function check({ vms, pointsPerDay, bytesPerSecond, days = 365 }: StoragePlanInput): void {
  const wrong = (text: string): EngineError => new EngineError("invalid", `storage plan: ${text}`);
  if (!(pointsPerDay > 0 && pointsPerDay <= 1440)) throw wrong(`points per day must be above 0 and at most 1440, not ${pointsPerDay}`);
  if (!(bytesPerSecond > 0)) throw wrong("the speed of a capture must be above 0 bytes per second");
  if (!(Number.isInteger(days) && days >= 1 && days <= 3650)) throw wrong(`days must be a whole number from 1 to 3650, not ${days}`);
  for (const { name, usedBytes, churnBytesPerDay, storedRatio = defaultRatio } of vms) {
    if (!(usedBytes >= 0 && Number.isFinite(usedBytes))) throw wrong(`${name} cannot use ${usedBytes} bytes`);
    if (!(churnBytesPerDay >= 0 && Number.isFinite(churnBytesPerDay))) throw wrong(`${name} cannot change ${churnBytesPerDay} bytes a day`);
    if (!(storedRatio > 0 && storedRatio <= 1.1)) throw wrong(`${name}: a stored ratio lies between 0 and 1.1, not ${storedRatio}`);
  }
}
