import { z } from "zod";
import { Name, Reason, Timestamp } from "./common.ts";
import { HostMaintenance } from "./placement.ts";

/** `up`: connected and answering; `connecting`: not yet; `lost`: it was or should be there and does not answer. */
export const HostState = z.enum(["connecting", "up", "lost"]);

/** How Godwit reaches a host's shell for facts that the hypervisor does not tell (networks, counters). */
export const HostSsh = z.object({
  host: z.string().min(1),
  port: z.int().min(1).max(65535).default(22),
  user: z.string().min(1).default("root"),
  keyFile: z.string().optional(),
  knownHostsFile: z.string().optional(),
});

export const HostAdd = z.object({
  name: Name,
  /** A libvirt URI, such as `qemu+ssh://root@host/system`. */
  uri: z.string().min(1),
  /** Only when `uri` is not an SSH one; an SSH URI serves for both. */
  ssh: HostSsh.optional(),
});
export type HostAdd = z.input<typeof HostAdd>;

export const Acceleration = z.object({
  kind: z.enum(["kvm", "tcg", "unknown"]),
  /** How it is known: by really running a guest, or only by what the host says. */
  evidence: z.enum(["probed", "claimed", "none"]),
  text: z.string(),
});

export const HostFacts = z.object({
  hostname: z.string(),
  uuid: z.string(),
  cpu: z.object({
    arch: z.string(),
    vendor: z.string().optional(),
    model: z.string().optional(),
    features: z.array(z.string()),
    count: z.int(),
    sockets: z.int(),
    cores: z.int(),
    threads: z.int(),
    mhz: z.int().optional(),
    /** Share of the CPUs' time that was used in the last minute or so. */
    busy: z.number().optional(),
  }),
  memoryBytes: z.int(),
  freeMemoryBytes: z.int().optional(),
  versions: z.object({
    libvirt: z.string(),
    hypervisor: z.string().optional(),
    kernel: z.string().optional(),
    os: z.string().optional(),
  }),
  capabilities: z.object({
    machines: z.array(z.string()),
    domainTypes: z.array(z.string()),
    migrationTransports: z.array(z.string()),
    live: z.boolean(),
  }),
  acceleration: Acceleration,
});

export const Host = z.object({
  id: z.string(),
  name: z.string(),
  uri: z.string(),
  state: HostState,
  stateSince: Timestamp,
  /** Why it is in this state. */
  reason: Reason,
  /** What was last known; absent until the first contact. */
  facts: HostFacts.optional(),
  factsAt: Timestamp.optional(),
  vms: z.object({ total: z.int(), running: z.int() }),
  /** Absent on a host that takes VMs as every other. */
  maintenance: HostMaintenance.optional(),
});
export type Host = z.infer<typeof Host>;

export const StoragePool = z.object({
  hostId: z.string(),
  host: z.string(),
  name: z.string(),
  uuid: z.string(),
  type: z.string(),
  path: z.string().optional(),
  active: z.boolean(),
  capacityBytes: z.int(),
  allocatedBytes: z.int(),
  availableBytes: z.int(),
});
export type StoragePool = z.infer<typeof StoragePool>;
