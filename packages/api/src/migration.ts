import { z } from "zod";
import { Check, Reason, Timestamp } from "./common.ts";

/** What the rules say of one network for one migration. */
export const NetworkVerdict = z.object({
  networkId: z.string(),
  network: z.string(),
  /** 1 is tried first; absent when it is out. */
  rank: z.int().optional(),
  verdict: z.enum(["chosen", "fallback", "out"]),
  reason: Reason,
  sourceInterface: z.string().optional(),
  sourceAddress: z.string().optional(),
  destinationInterface: z.string().optional(),
  /** Where the stream would go to. */
  destinationAddress: z.string().optional(),
});
export type NetworkVerdict = z.infer<typeof NetworkVerdict>;

export const PausePolicy = z.enum(["strict", "auto-converge", "post-copy", "suspend-at-last"]);

/** What a move is expected to take. Milliseconds, bytes. */
export const Forecast = z.object({
  totalMs: z.number(),
  /** Of a move that stands still: what the rule says before past moves correct it. */
  ruleMs: z.number().optional(),
  pauseMs: z.number(),
  /** Of the pause, what passes whatever is left to send, as past moves between these hosts had it. */
  switchoverMs: z.number().optional(),
  bytes: z.int(),
  /** Of a live move: what the hypervisor kept of the guest's memory then. */
  residentBytes: z.int().optional(),
  rounds: z.int(),
  /** Whether the pause that is promised can be held, by the policy. */
  converges: z.boolean(),
  dirtyBytesPerSecond: z.int().optional(),
  /** Of the bytes, the memory that is sent once, and the disks. */
  firstBytes: z.number().optional(),
  diskBytes: z.number().optional(),
  /** Of the time, what passes whatever there is to send. */
  overheadMs: z.number().optional(),
  bandwidthBytesPerSecond: z.int(),
  text: z.string(),
  /** What the figures stand on. */
  reasons: z.array(z.string()),
  /** When it does not converge: what else could be done, and what that would cost. */
  options: z.array(
    z.object({
      option: z.enum(["raise-pause", "auto-converge", "post-copy", "suspend-at-last", "quick"]),
      pauseMs: z.number(),
      totalMs: z.number(),
      text: z.string(),
    }),
  ),
});
export type Forecast = z.infer<typeof Forecast>;

export const MigrationKind = z.enum(["live", "quick", "cold"]);

/** Pools by disk target; a target names no path. */
const byName = z.record(z.string().min(1).max(255), z.string().min(1).max(255));

export const MigrationRequest = z.object({
  /** Destination host, id or name; absent: Godwit chooses one by the rules of the site. */
  to: z.string().min(1).optional(),
  /** `quick` saves the memory, moves it and goes on there. Absent: live when it runs, cold when it is off. */
  kind: MigrationKind.optional(),
  /** Copy the disks as well, into this pool of the destination (shared-nothing). */
  storagePool: z.string().min(1).optional(),
  /** Copy these disks, by target, each into its pool; the others are shared, or go into `storagePool`. */
  storageByDisk: byName.optional(),
  /** What network cards plug into there: old name to new one. */
  networkMap: byName.optional(),
  /** Let the source's libvirt drive it (the hosts must then trust each other); otherwise the server drives. */
  peerToPeer: z.boolean().default(false),
  /** Bytes per second; unlimited when absent. */
  bandwidthBytesPerSecond: z.int().min(1_000_000).optional(),
  /** Throttle the guest's CPUs when memory changes faster than it can be sent. */
  autoConverge: z.boolean().default(false),
  /** Milliseconds of pause that are promised; 300 when absent. */
  maximumPauseMs: z.int().min(1).max(60_000).optional(),
  /** What happens when memory changes faster than that allows. Absent: auto-converge when asked for, else strict. */
  policy: PausePolicy.optional(),
  /** Streams to send memory by at the same time; absent: chosen by the link and what was measured on it. */
  parallelConnections: z.int().min(1).max(255).optional(),
  /** How the hypervisor compresses memory; absent: chosen by how fast it changes. */
  compression: z.enum(["none", "xbzrle", "mt", "zlib", "zstd"]).optional(),
  /** Encrypt what goes from host to host; both need certificates for it. */
  tls: z.boolean().default(false),
  /** Let the kernel send memory without copying it first: needs several streams, and that guests may lock memory. */
  zeroCopy: z.boolean().default(false),
  /**
   * Of a quick or cold move: let the hypervisors carry the files over the migration network, instead of the server. A
   * libvirtd 9.0 whose carriage fails in the middle may end itself, and is to be started again.
   */
  carryFiles: z.boolean().default(false),
  /** Let a capture of the VM that runs end first, instead of parking it. */
  waitForCapture: z.boolean().optional(),
  /** Only say what would be done. */
  dryRun: z.boolean().default(false),
});
export type MigrationRequest = z.input<typeof MigrationRequest>;

/** How memory goes over the wire. Absent streams: one; absent compression: none. */
const Transport = z.object({
  parallelConnections: z.int().optional(),
  compression: z.string().optional(),
  tls: z.boolean(),
  zeroCopy: z.boolean(),
});

export const MigrationPlan = z.object({
  vmId: z.string(),
  vm: z.string(),
  sourceId: z.string(),
  source: z.string(),
  destinationId: z.string(),
  destination: z.string(),
  kind: z.enum([...MigrationKind.options, "shared-nothing"]),
  /** Disks that would be copied. */
  copies: z.array(z.object({ target: z.string(), from: z.string(), pool: z.string() })),
  networks: z.array(NetworkVerdict),
  checks: z.array(Check),
  /** False when a check failed: nothing would be started. */
  possible: z.boolean(),
  /** Of every move that may begin. */
  forecast: Forecast.optional(),
  /** Of a live move that may begin: how its memory would go, and why so. */
  transport: Transport.extend({ reasons: z.array(Reason) }).optional(),
});
export type MigrationPlan = z.infer<typeof MigrationPlan>;

/** Bytes that one interface of one host carried from start to end of the move. */
export const InterfaceProof = z.object({
  hostId: z.string(),
  host: z.string(),
  interface: z.string(),
  networkId: z.string().optional(),
  network: z.string().optional(),
  receivedBytes: z.int(),
  sentBytes: z.int(),
});

/** Sizes in bytes; `digest` is what the checksums of both hosts agreed on. */
export const FileProof = z.object({ from: z.string(), to: z.string(), bytes: z.int(), dataBytes: z.int(), digest: z.string() });

export const MigrationAttempt = z.object({
  networkId: z.string(),
  network: z.string(),
  destinationAddress: z.string(),
  outcome: z.enum(["carried", "no-connection", "failed", "cancelled"]),
  reason: Reason,
});

export const MigrationResult = z.object({
  vmId: z.string(),
  vm: z.string(),
  source: z.string(),
  destination: z.string(),
  kind: z.enum([...MigrationKind.options, "shared-nothing"]),
  driver: z.enum(["server", "peer-to-peer"]),
  /** Absent when nothing went from host to host, or only over the server's own connections. */
  networkId: z.string().optional(),
  network: z.string().optional(),
  destinationAddress: z.string().optional(),
  attempts: z.array(MigrationAttempt),
  startedAt: Timestamp,
  endedAt: Timestamp,
  /** From the first phase to the last, without `waitedMs`; milliseconds. */
  totalMs: z.number(),
  /** So long it waited, running on, until the pauses of other guests that go to the same host were over; milliseconds. */
  waitedMs: z.number().optional(),
  /** While the hypervisor sent memory and disks, the pause included. */
  sendMs: z.number().optional(),
  /** The pause that was promised, whether it was held, and what had to be done for it. */
  contract: z
    .object({
      maximumPauseMs: z.number(),
      policy: PausePolicy,
      held: z.boolean().optional(),
      limitMs: z.number().optional(),
      /** The most that the guest was slowed by. */
      throttlePercent: z.number().optional(),
      atLast: z.string().optional(),
    })
    .optional(),
  /** What was said before the start. */
  forecast: Forecast.optional(),
  /** As the hypervisor measured it, milliseconds; absent when it did not say. */
  pauseMs: z.number().optional(),
  rounds: z.int().optional(),
  dirtyBytesPerSecond: z.int().optional(),
  /** How the memory went. */
  transport: Transport.optional(),
  memoryBytes: z.int(),
  diskBytes: z.int(),
  interfaces: z.array(InterfaceProof),
  /** Files that were copied, each read back there and compared. */
  files: z.array(FileProof).optional(),
  /** The one sentence of proof: which interface carried the stream. */
  proof: z.string(),
});
export type MigrationResult = z.infer<typeof MigrationResult>;

export const StorageMoveRequest = z.object({
  /** Targets such as vda; absent: every disk that can be moved and is not there yet. */
  disks: z.array(z.string().min(1).max(255)).max(1000).optional(),
  /** A storage pool of the VM's host. */
  to: z.string().min(1),
  /** The format that the images have afterwards; absent: each keeps its own. */
  format: z.enum(["qcow2", "raw"]).optional(),
  /** Bytes per second while it runs; unlimited when absent. */
  bandwidthBytesPerSecond: z.int().min(1_000_000).optional(),
});
export type StorageMoveRequest = z.input<typeof StorageMoveRequest>;

export const StorageMoveResult = z.object({
  vmId: z.string(),
  vm: z.string(),
  host: z.string(),
  /** Whether the guest ran meanwhile. */
  running: z.boolean(),
  startedAt: Timestamp,
  endedAt: Timestamp,
  totalMs: z.number(),
  disks: z.array(
    z.object({ target: z.string(), from: z.string(), to: z.string(), pool: z.string(), format: z.string(), totalMs: z.number() }),
  ),
});
export type StorageMoveResult = z.infer<typeof StorageMoveResult>;
