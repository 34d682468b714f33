import { z } from "zod";
import { Timestamp } from "./common.ts";

/** `unknown`: its host is lost, so nothing can be said; never a guess. */
export const VmState = z.enum(["running", "paused", "shutting-down", "off", "crashed", "suspended", "blocked", "unknown"]);

export const VmDisk = z.object({
  /** As the guest's bus sees it: `vda`. */
  target: z.string(),
  device: z.enum(["disk", "cdrom", "floppy", "lun"]),
  bus: z.string().optional(),
  source: z.object({ type: z.string(), path: z.string().optional(), pool: z.string().optional() }),
  format: z.string().optional(),
  readOnly: z.boolean(),
  shareable: z.boolean(),
  capacityBytes: z.int().optional(),
  allocatedBytes: z.int().optional(),
  /** Paths of the images under this one, nearest first. */
  backingChain: z.array(z.string()),
});

export const VmNic = z.object({
  mac: z.string(),
  model: z.string().optional(),
  type: z.string(),
  /** The bridge, libvirt network or device that it is plugged into. */
  source: z.string().optional(),
});

export const Vm = z.object({
  id: z.string(),
  name: z.string(),
  title: z.string().optional(),
  hostId: z.string(),
  host: z.string(),
  state: VmState,
  /** The last state that was really seen; differs from `state` only while that is `unknown`. */
  lastKnownState: VmState,
  seenAt: Timestamp,
  persistent: z.boolean(),
  autostart: z.boolean(),
  vcpus: z.int(),
  memoryBytes: z.int(),
  cpu: z.object({ mode: z.string(), model: z.string().optional() }),
  domainType: z.string(),
  machine: z.string().optional(),
  agent: z.enum(["connected", "disconnected", "none"]),
  disks: z.array(VmDisk),
  nics: z.array(VmNic),
  /** The unfinished job that holds this VM. */
  jobId: z.string().optional(),
});
export type Vm = z.infer<typeof Vm>;

export const VmStop = z.object({
  /** `shutdown` asks the guest, `off` pulls the plug. */
  mode: z.enum(["shutdown", "off"]).default("shutdown"),
  timeoutSeconds: z.int().min(1).max(86400).default(300),
});
