import { z } from "zod";
import { PausePolicy } from "./migration.ts";
import { Name, Reason, Timestamp } from "./common.ts";

export const MoveKind = z.enum(["live", "shared-nothing", "quick", "cold"]);
export const VmPriority = z.enum(["high", "medium", "low", "no-auto-start"]);

const Text = z.string().min(1).max(255);
const Names = z.array(Text).min(1).max(1000);

/** Names and tags add up; `where` narrows what they, or all VMs, gave. */
export const VmSelector = z.strictObject({
  names: Names.optional(),
  tags: Names.optional(),
  where: z
    .strictObject({
      minimumMemoryBytes: z.int().min(0).optional(),
      maximumMemoryBytes: z.int().min(0).optional(),
      minimumVcpus: z.int().min(0).optional(),
      guestNetworks: Names.optional(),
    })
    .optional(),
});

export const PlacementRule = z.strictObject({
  name: Name,
  vms: VmSelector,
  possibleHosts: Names.optional(),
  preferredHosts: Names.optional(),
  keepApart: z.enum(["prefer", "enforce"]).optional(),
  keepTogether: z.enum(["host", "site"]).optional(),
  spreadOver: z.enum(["hosts", "sites"]).optional(),
  priority: VmPriority.optional(),
  startGroup: z.int().min(-1000).max(1000).optional(),
  /** The pause that a live migration may take, milliseconds; the tightest of all that is said counts. */
  maximumPauseMs: z.int().min(1).max(60_000).optional(),
  /** What happens to a VM that changes memory too fast for that pause. */
  pausePolicy: PausePolicy.optional(),
  profile: Name.optional(),
});

export const WorkloadProfile = z.strictObject({
  name: Name,
  title: Text,
  tags: z.array(Text).max(100),
  allowedKinds: z.array(MoveKind).min(1),
  savedState: z.enum(["allowed", "never"]),
  maximumPauseMs: z.int().min(1).max(60_000).optional(),
  vmGenerationId: z.enum(["needed", "not-needed"]),
  dynamicMemory: z.enum(["allowed", "never"]),
  maximumVcpusPerCpu: z.number().min(0.1).max(100).optional(),
  advice: z.array(z.string().max(500)).max(20),
  source: z.string().max(500),
});

/** All that is decided about where VMs run; put as a whole. */
export const PlacementSettings = z.strictObject({
  /** By host: the site that it stands in. */
  sites: z.record(Text, Text).default({}),
  tags: z
    .array(z.strictObject({ vms: Names, tags: Names }))
    .max(10_000)
    .default([]),
  rules: z.array(PlacementRule).max(10_000).default([]),
  profiles: z.array(WorkloadProfile).max(100).default([]),
  /** Balancing by itself; absent: only when somebody asks. */
  balance: z.strictObject({ everyMinutes: z.int().min(10).max(1440), abovePercent: z.int().min(30).max(99) }).optional(),
});
export type PlacementSettings = z.output<typeof PlacementSettings>;

/** As they are, with the built-in profiles beside the site's own. */
export const PlacementView = PlacementSettings.extend({ builtInProfiles: z.array(WorkloadProfile) });
export type PlacementView = z.infer<typeof PlacementView>;

export const PlacementRequest = z.object({
  /** Only these hosts, id or name. */
  to: z.array(z.string().min(1)).min(1).optional(),
});

export const HostVerdict = z.object({
  hostId: z.string(),
  host: z.string(),
  verdict: z.enum(["chosen", "fits", "out"]),
  rank: z.int().optional(),
  reasons: z.array(Reason),
  /** What would have to change, one for each reason against it. */
  changes: z.array(z.string()),
});
export type HostVerdict = z.infer<typeof HostVerdict>;

/** Where a VM would go, and why. */
export const Placement = z.object({
  vmId: z.string(),
  vm: z.string(),
  hostId: z.string().optional(),
  host: z.string().optional(),
  /** Its disks would be copied into this pool. */
  storagePool: z.string().optional(),
  reason: Reason,
  hosts: z.array(HostVerdict),
});
export type Placement = z.infer<typeof Placement>;

/** `open`: it takes VMs again, but some that a drain took away are not back. No VM lands on it in the other states. */
export const HostMaintenance = z.object({
  state: z.enum(["draining", "drained", "incomplete", "open"]),
  since: Timestamp,
  reason: Reason,
  jobId: z.string(),
  moved: z.array(z.object({ vmId: z.string(), vm: z.string(), destinationId: z.string(), destination: z.string(), jobId: z.string() })),
});

export const DrainRequest = z.object({
  /** Only to these hosts, id or name. */
  to: z.array(z.string().min(1)).min(1).max(1000).optional(),
  /** Move what can move even when something cannot. */
  partial: z.boolean().default(false),
  /** Let captures that run end first, instead of parking them. */
  waitForCapture: z.boolean().optional(),
});

export const DrainEntry = z.object({
  vmId: z.string(),
  vm: z.string(),
  verdict: z.enum(["move", "stay", "blocked"]),
  order: z.int().optional(),
  kind: MoveKind.optional(),
  destinationId: z.string().optional(),
  destination: z.string().optional(),
  networkId: z.string().optional(),
  network: z.string().optional(),
  storagePool: z.string().optional(),
  maximumPauseMs: z.int().optional(),
  pausePolicy: PausePolicy.optional(),
  memoryBytes: z.int(),
  /** Milliseconds from the start of the drain. */
  startsAtMs: z.int().optional(),
  predictedMs: z.int().optional(),
  predictedPauseMs: z.int().optional(),
  reason: Reason,
  /** What can be done about a blocked one. */
  choice: z.string().optional(),
  hosts: z.array(HostVerdict).optional(),
  advice: z.array(z.string()).optional(),
});
export type DrainEntry = z.infer<typeof DrainEntry>;

export const DrainPlan = z.object({
  hostId: z.string(),
  host: z.string(),
  entries: z.array(DrainEntry),
  room: z.array(z.object({ hostId: z.string(), host: z.string(), freeBefore: z.number(), freeAfter: z.number(), arriving: z.int() })),
  concurrency: z.int(),
  /** By the forecasts of the moves alone. */
  scheduledMs: z.int(),
  /** The same at the pace at which drains have been going here. */
  predictedMs: z.int(),
  possible: z.boolean(),
});
export type DrainPlan = z.infer<typeof DrainPlan>;

export const ResumeRequest = z.object({
  /** `now` brings back exactly what was moved away, `policy` what the rules would rather have there. */
  failback: z.enum(["now", "policy", "none"]).default("none"),
});

export const MoveOutcome = z.object({
  vmId: z.string(),
  vm: z.string(),
  destinationId: z.string(),
  destination: z.string(),
  outcome: z.enum(["moved", "failed", "cancelled"]),
  jobId: z.string().optional(),
  network: z.string().optional(),
  totalMs: z.number().optional(),
  predictedMs: z.number().optional(),
  /** Besides, it waited for so long, running on, for the pauses of others that go to the same host. */
  waitedMs: z.number().optional(),
  pauseMs: z.number().optional(),
  /** The pause that was promised. */
  promisedPauseMs: z.number().optional(),
  memoryBytes: z.int().optional(),
  /** Why it went there. */
  why: z.string().optional(),
  /** What had to be done for the pause's sake, if anything. */
  atLast: z.string().optional(),
  /** Which interfaces carried it, by byte counts. */
  proof: z.string().optional(),
  error: z.object({ kind: z.string(), message: z.string() }).optional(),
});
export type MoveOutcome = z.infer<typeof MoveOutcome>;

/** What a drain, a resume or a balance came to; the result of its job. */
export const MovesResult = z.object({
  host: z.string().optional(),
  moves: z.array(MoveOutcome),
  left: z.array(z.object({ vm: z.string(), reason: z.string() })),
  totalMs: z.number(),
  predictedMs: z.number().optional(),
  /** What the forecasts of a drain's moves came to. */
  scheduledMs: z.number().optional(),
});
export type MovesResult = z.infer<typeof MovesResult>;

export const BalanceRequest = z.object({
  /** Percent of a host's memory above which it is relieved. */
  actAbovePercent: z.int().min(30).max(99).default(80),
});

export const BalancePlan = z.object({
  moves: z.array(
    z.object({
      vmId: z.string(),
      vm: z.string(),
      sourceId: z.string(),
      source: z.string(),
      destinationId: z.string(),
      destination: z.string(),
      network: z.string().optional(),
      maximumPauseMs: z.int().optional(),
      pausePolicy: PausePolicy.optional(),
      reason: z.string(),
    }),
  ),
  /** Fractions of each host's memory. */
  loads: z.array(z.object({ hostId: z.string(), host: z.string(), before: z.number(), after: z.number() })),
  reason: z.string(),
});
export type BalancePlan = z.infer<typeof BalancePlan>;
