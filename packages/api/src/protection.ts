import { z } from "zod";
import { Name, Reason, Timestamp } from "./common.ts";
import { InterfaceProof } from "./migration.ts";
import { BackupRoute } from "./network.ts";

/** A vault as the server knows it; its secret is in a file of the server's. */
export const VaultLocation = z.object({
  /** The vault's own id. */
  id: z.string(),
  name: z.string(),
  /** A directory of the server, or a URL. */
  location: z.string(),
  passphraseFile: z.string(),
  addedAt: Timestamp,
});
export type VaultLocation = z.infer<typeof VaultLocation>;

export const VaultLocationAdd = z.object({
  name: Name,
  location: z.string().min(1),
  /** A file on the server's machine whose first line is the passphrase. */
  passphraseFile: z.string().min(1),
});
export type VaultLocationAdd = z.input<typeof VaultLocationAdd>;

export const Consistency = z.enum(["application", "filesystem", "crash"]);

export const CaptureRequest = z.object({
  /** Registered vault, by name or id. */
  vault: z.string().min(1),
  /** When the VM must move meanwhile: `park` lets it go at once and goes on at the destination, `finish` makes the move wait. */
  onMigration: z.enum(["park", "finish"]).default("park"),
  /** A lesser consistency fails the capture. */
  atLeast: z.enum(["crash", "filesystem", "application"]).default("crash"),
  /** Read all and compare it with the last point, whatever the list of changes says. */
  check: z.boolean().optional(),
  /** Read no faster than this, bytes per second. The guest's own writes may slow it further. */
  bandwidthBytesPerSecond: z.int().min(1_000_000).optional(),
});
export type CaptureRequest = z.input<typeof CaptureRequest>;

/** Why a disk was read as it was: `full` all of it, `incremental` its changes, `compared` all of it beside the last point. */
export const CapturedDisk = z.object({
  target: z.string(),
  mode: z.enum(["full", "incremental", "compared"]),
  reason: Reason,
  sizeBytes: z.int(),
  readBytes: z.int(),
});

export const CaptureResult = z.discriminatedUnion("outcome", [
  z.object({
    outcome: z.literal("captured"),
    vmId: z.string(),
    vm: z.string(),
    host: z.string(),
    vaultId: z.string(),
    vault: z.string(),
    pointId: z.string(),
    /** The moment that the point shows. */
    at: Timestamp,
    consistency: Consistency,
    evidence: z.array(z.string()),
    frozenMs: z.number(),
    disks: z.array(CapturedDisk),
    /** Of a consistency check: what differs from the last point, and what of it nobody had listed as changed. */
    check: z.array(z.object({ target: z.string(), differingBytes: z.int(), unexpectedBytes: z.int().optional() })).optional(),
    readBytes: z.int(),
    /** What the vault grew by. */
    storedBytes: z.int(),
    newChunks: z.int(),
    /** Packs of an interrupted capture that were taken over. */
    adoptedPacks: z.int(),
    /** What the guest felt: the mean of its writes before and during the capture, and how far that slowed the reading. */
    guest: z.object({ writeBeforeMs: z.number().optional(), writeMs: z.number().optional(), slowedTo: z.int().optional() }),
    /** The way by which it was read; absent of captures by older servers. */
    route: BackupRoute.optional(),
    /** What the host's interfaces carried meanwhile. */
    interfaces: z.array(InterfaceProof).optional(),
    totalMs: z.number(),
  }),
  z.object({
    outcome: z.literal("parked"),
    vmId: z.string(),
    vm: z.string(),
    /** The job that moves the VM. */
    for: z.object({ id: z.string(), title: z.string() }),
    /** The job that goes on after it. */
    continuedBy: z.string(),
  }),
]);
export type CaptureResult = z.infer<typeof CaptureResult>;

export const RecoveryPoint = z.object({
  id: z.string(),
  vaultId: z.string(),
  vault: z.string(),
  vm: z.string(),
  time: Timestamp,
  consistency: Consistency,
  evidence: z.array(z.string()),
  disks: z.array(z.object({ name: z.string(), sizeBytes: z.int() })),
  /** Whether it holds the VM's definition, so that the VM can be made anew. */
  bootable: z.boolean(),
  /** The point that it was captured against. */
  parent: z.string().optional(),
  reasons: z.array(z.string()),
  readBytes: z.int(),
  storedBytes: z.int(),
});
export type RecoveryPoint = z.infer<typeof RecoveryPoint>;

export const RecoverRequest = z.object({
  /** The vault that the point is in; needed only when several have a point of that name. */
  vault: z.string().min(1).optional(),
  /**
   * `new`: a VM beside what is there. `replace`: the VM gets new images, the old ones are kept aside. `in-place`: only
   * what differs is written into its images. `disk`: images only, no VM.
   */
  mode: z.enum(["new", "replace", "in-place", "disk"]).default("new"),
  /** Destination host, id or name. */
  to: z.string().min(1).optional(),
  /** A storage pool of the destination that keeps files. */
  storagePool: z.string().min(1).optional(),
  /** The recovered VM's name; that of the captured one when absent. */
  name: z
    .string()
    .regex(/^[^/<>&'"\p{C}]{1,100}$/u)
    .optional(),
  /** Another UUID and other network addresses; always when the captured VM still exists. */
  newIdentity: z.boolean().optional(),
  /** Only these disks. */
  disks: z.array(z.string().min(1)).min(1).optional(),
  /** What network cards plug into, old name to new one. */
  networks: z.record(z.string(), z.string()).optional(),
  start: z.boolean().default(false),
  /** The old images of a replaced VM stay until that is confirmed; otherwise until it boots and its agent answers. */
  keepOld: z.boolean().optional(),
});
export type RecoverRequest = z.input<typeof RecoverRequest>;

const guestPath = z.string().min(1).max(4096);

export const FilesCaptureRequest = z.object({
  /** Registered vault, by name or id. */
  vault: z.string().min(1),
  /** Its points are named `VM:SET`. */
  set: Name.optional(),
  /** Absolute, in the guest. */
  paths: z.array(guestPath).min(1).max(1000),
});
export type FilesCaptureRequest = z.input<typeof FilesCaptureRequest>;

export const FilesCaptured = z.object({
  outcome: z.literal("files-captured"),
  vmId: z.string(),
  vm: z.string(),
  host: z.string(),
  vault: z.string(),
  pointId: z.string(),
  set: z.string(),
  paths: z.array(z.string()),
  /** Of the archive. */
  readBytes: z.int(),
  storedBytes: z.int(),
  warnings: z.array(z.string()),
  totalMs: z.number(),
});
export type FilesCaptured = z.infer<typeof FilesCaptured>;

export const FilesRecoverRequest = z.object({
  vault: z.string().min(1).optional(),
  /** The VM that gets them, by name or id. */
  vm: z.string().min(1),
  /** A folder in the guest, which is made. What is there and not among the files stays. */
  into: guestPath,
});
export type FilesRecoverRequest = z.input<typeof FilesRecoverRequest>;

export const FilesRecovered = z.object({
  outcome: z.literal("files-recovered"),
  vm: z.string(),
  vault: z.string(),
  pointId: z.string(),
  at: Timestamp,
  into: z.string(),
  bytes: z.int(),
  totalMs: z.number(),
});
export type FilesRecovered = z.infer<typeof FilesRecovered>;

/** Images that a VM had before a recovery replaced them. */
export const KeptImages = z.object({
  /** The recovery's job. */
  id: z.string(),
  vmId: z.string(),
  vm: z.string(),
  hostId: z.string(),
  host: z.string(),
  paths: z.array(z.string()),
  since: Timestamp,
  /** `boots`: until the VM runs on its new images and its agent answers. `confirmed`: until an admin says so. */
  until: z.enum(["boots", "confirmed"]),
});
export type KeptImages = z.infer<typeof KeptImages>;

export const ConfirmResult = z.object({
  vm: z.string(),
  removed: z.array(z.string()),
  left: z.array(z.object({ path: z.string(), reason: z.string() })),
});
export type ConfirmResult = z.infer<typeof ConfirmResult>;

export const RecoverResult = z.object({
  outcome: z.literal("recovered"),
  mode: z.enum(["new", "replace", "in-place", "disk"]),
  pointId: z.string(),
  vault: z.string(),
  /** The moment that it shows now. */
  at: Timestamp,
  vmId: z.string(),
  vm: z.string(),
  host: z.string(),
  disks: z.array(z.object({ target: z.string(), path: z.string(), sizeBytes: z.int(), writtenBytes: z.int(), keptBytes: z.int() })),
  /** Images that the VM had before; they go once it has proven itself. */
  keptAside: z.array(z.string()),
  started: z.boolean(),
  /** Whether the next capture reads only changes, or why not. */
  tracking: Reason,
  /** The way by which they were written; absent of recoveries by older servers. */
  route: BackupRoute.optional(),
  /** What the host's interfaces carried meanwhile. */
  interfaces: z.array(InterfaceProof).optional(),
  totalMs: z.number(),
});
export type RecoverResult = z.infer<typeof RecoverResult>;
