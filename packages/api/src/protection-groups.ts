import { z } from "zod";
import { Name, PageQuery, pageOf, Reason, Timestamp } from "./common.ts";
import { route } from "./route.ts";

const patterns = z.array(z.string().min(1).max(255)).max(1000);
const count = z.int().min(1).max(100_000);

/** Which VMs: any list that names one makes it a member. Names and hosts may have `*` and `?`. */
export const MemberSelector = z.object({
  names: patterns.optional(),
  tags: patterns.optional(),
  hosts: patterns.optional(),
  pools: patterns.optional(),
  /** Every VM that no other group selects. */
  rest: z.boolean().optional(),
  except: patterns.optional(),
});

export const GroupSchedule = z.object({
  /** Five fields as in crontab(5); several lines for several times a day. */
  cron: z.array(z.string().max(200)).max(50).optional(),
  everyMinutes: z.int().min(1).max(44_640).optional(),
  /** An IANA name; UTC unless given. */
  timeZone: z.string().max(100).optional(),
  windows: z
    .array(
      z.object({ days: z.array(z.enum(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])).optional(), from: z.string(), to: z.string() }),
    )
    .max(50)
    .optional(),
});

const RunWindow = z.object({
  days: z.array(z.enum(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])).optional(),
  from: z.string(),
  to: z.string(),
});

/** How fast a group's captures may read together. The first rule whose hours it is counts; one without hours always. */
export const BandwidthRule = z.object({ bytesPerSecond: z.int().min(1_000_000), hours: RunWindow.optional() });
const bandwidth = z.array(BandwidthRule).max(50);
/** Cron lines: the first capture after each of these moments is a consistency check. */
const checks = z.array(z.string().max(200)).max(50);
/** In the guests: their files are captured through the agent, instead of the VMs' disks. */
const paths = z.array(z.string().max(4096)).min(1).max(1000);

/** How many points of each kind stay. */
export const Retention = z.object({
  last: count.optional(),
  hourly: count.optional(),
  daily: count.optional(),
  weekly: count.optional(),
  monthly: count.optional(),
  yearly: count.optional(),
  withinDays: count.optional(),
});

export const GroupLimits = z.object({ perHost: count.optional(), perPool: count.optional(), perVault: count.optional() });
export const RetryPolicy = z.object({ times: z.int().min(0).max(20), delayMinutes: z.number().min(1).max(1440) });
const onMigration = z.enum(["park", "finish"]);
const atLeast = z.enum(["crash", "filesystem", "application"]);

export const GroupDraft = z.object({
  name: Name,
  /** A registered vault, by name or id. */
  vault: z.string().min(1),
  members: MemberSelector,
  schedule: GroupSchedule.optional(),
  retention: Retention.optional(),
  limits: GroupLimits.optional(),
  bandwidth: bandwidth.optional(),
  checks: checks.optional(),
  paths: paths.optional(),
  retry: RetryPolicy.optional(),
  slaHours: count.optional(),
  onMigration: onMigration.optional(),
  atLeast: atLeast.optional(),
  /** Alerts are posted there as JSON. */
  webhook: z.url({ protocol: /^https?$/ }).optional(),
  paused: z.boolean().optional(),
});
export type GroupDraft = z.input<typeof GroupDraft>;

/** What is not given stays; `null` takes a setting away. */
export const GroupEdit = z.object({
  name: Name.optional(),
  vault: z.string().min(1).optional(),
  members: MemberSelector.optional(),
  schedule: GroupSchedule.optional(),
  retention: Retention.optional(),
  limits: GroupLimits.nullable().optional(),
  bandwidth: bandwidth.nullable().optional(),
  checks: checks.nullable().optional(),
  paths: paths.nullable().optional(),
  retry: RetryPolicy.optional(),
  slaHours: count.nullable().optional(),
  onMigration: onMigration.optional(),
  atLeast: atLeast.optional(),
  webhook: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .optional(),
  paused: z.boolean().optional(),
});
export type GroupEdit = z.input<typeof GroupEdit>;

/** How one member stands. Sizes in bytes. */
export const MemberStatus = z.object({
  groupId: z.string(),
  group: z.string(),
  vmId: z.string(),
  vm: z.string(),
  state: z.enum(["ok", "running", "waiting", "failing", "late", "paused"]),
  reason: Reason,
  lastPointAt: Timestamp.optional(),
  lastPointId: z.string().optional(),
  succeeded: z.int(),
  ended: z.int(),
  churnBytesPerDay: z.int().optional(),
  growthBytesPerDay: z.int().optional(),
  longestFreezeMs: z.number().optional(),
  /** The newest consistency check, and bytes that differed though nobody had listed them as changed. */
  checkedAt: Timestamp.optional(),
  unexpectedBytes: z.int().optional(),
});
export type MemberStatus = z.infer<typeof MemberStatus>;

export const ProtectionGroup = z.object({
  id: z.string(),
  name: z.string(),
  vaultId: z.string(),
  vault: z.string(),
  members: MemberSelector,
  schedule: GroupSchedule,
  retention: Retention,
  limits: GroupLimits,
  bandwidth: bandwidth.optional(),
  checks: checks.optional(),
  paths: paths.optional(),
  retry: RetryPolicy,
  slaHours: z.int().optional(),
  onMigration,
  atLeast,
  webhook: z.string().optional(),
  paused: z.boolean(),
  createdAt: Timestamp,
  statuses: z.array(MemberStatus),
});
export type ProtectionGroup = z.infer<typeof ProtectionGroup>;

/** Something that an admin must know; open while it has no `resolvedAt`. */
export const Alert = z.object({
  id: z.string(),
  kind: z.enum(["sla"]),
  groupId: z.string(),
  group: z.string(),
  vmId: z.string(),
  vm: z.string(),
  text: z.string(),
  raisedAt: Timestamp,
  resolvedAt: Timestamp.optional(),
});
export type Alert = z.infer<typeof Alert>;

export const UncoveredVm = z.object({ id: z.string(), name: z.string(), host: z.string() });
export type UncoveredVm = z.infer<typeof UncoveredVm>;

const bytes = z.number().min(0);
const PlannedVm = z.object({
  name: z.string().min(1),
  usedBytes: bytes,
  churnBytesPerDay: bytes,
  storedRatio: z.number().optional(),
  evidence: z.string().default("given"),
});

export const StoragePlanRequest = z.object({
  /** Planned VMs, from what is given. */
  vms: z.array(PlannedVm).max(10_000).default([]),
  /** A group: its members, from what their runs measured, with its schedule and retention. */
  group: z.string().optional(),
  retention: Retention.optional(),
  pointsPerDay: z.number().optional(),
  bytesPerSecond: z.number().default(100_000_000),
  days: z.int().optional(),
  growthPerYear: z.number().min(0).max(100).optional(),
});
export type StoragePlanRequest = z.input<typeof StoragePlanRequest>;

export const StoragePlan = z.object({
  vault: z.array(z.object({ day: z.int(), bytes: z.int() })),
  scratchBytes: z.int(),
  firstWindowSeconds: z.number(),
  windowSeconds: z.number(),
  dpm: z.object({ replicaBytes: z.int(), recoveryPointBytes: z.int(), rule: z.string() }),
  assumptions: z.array(z.string()),
});
export type StoragePlan = z.infer<typeof StoragePlan>;

const tag = "protection";

export const protectionGroupRoutes = {
  groupList: route({
    method: "GET",
    path: "/protection-groups",
    tag,
    summary: "List protection groups",
    query: PageQuery,
    response: pageOf(ProtectionGroup),
  }),
  groupCreate: route({
    method: "POST",
    path: "/protection-groups",
    tag,
    summary: "Create a protection group",
    body: GroupDraft,
    response: ProtectionGroup,
    status: 201,
  }),
  groupGet: route({
    method: "GET",
    path: "/protection-groups/{group}",
    tag,
    summary: "Show a protection group and its members",
    response: ProtectionGroup,
  }),
  groupEdit: route({
    method: "PATCH",
    path: "/protection-groups/{group}",
    tag,
    summary: "Change a protection group",
    body: GroupEdit,
    response: ProtectionGroup,
  }),
  groupRemove: route({ method: "DELETE", path: "/protection-groups/{group}", tag, summary: "End a group's protection; its points stay" }),
  protectionStatus: route({
    method: "GET",
    path: "/protection-status",
    tag,
    summary: "How every member of every group stands",
    query: PageQuery,
    response: pageOf(MemberStatus),
  }),
  unprotectedVmList: route({
    method: "GET",
    path: "/unprotected-vms",
    tag,
    summary: "VMs that no group protects",
    query: PageQuery,
    response: pageOf(UncoveredVm),
  }),
  alertList: route({
    method: "GET",
    path: "/alerts",
    tag,
    summary: "List alerts, open ones first",
    query: PageQuery.extend({ open: z.stringbool().optional() }),
    response: pageOf(Alert),
  }),
  storagePlan: route({
    method: "POST",
    path: "/storage-plan",
    tag,
    summary: "What a vault will need, from measured or given figures",
    body: StoragePlanRequest,
    response: StoragePlan,
  }),
} as const;
