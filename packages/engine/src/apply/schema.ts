import { z } from "zod";
import { MAX_METRIC } from "../network/settings.ts";
import { weekdays } from "../protection/groups/schedule.ts";
import { PlacementSection } from "../placement/schema.ts";

/** What a cluster file may say. What it does not say is left as it is. */
const migrations = z.int().min(0).max(1000);

const Ssh = z.strictObject({
  host: z.string().min(1),
  port: z.int().min(1).max(65_535).default(22),
  user: z.string().min(1).default("root"),
  keyFile: z.string().min(1).optional(),
  knownHostsFile: z.string().min(1).optional(),
});

const MigrationSubnet = z.strictObject({
  subnet: z.string().min(1),
  priority: z.int().min(0).max(0xffff_ffff).default(0),
});

const HostMigration = z.strictObject({
  useAnyNetwork: z.boolean().optional(),
  maximumLiveMigrations: migrations.optional(),
  maximumStorageMigrations: migrations.optional(),
  /** All of them: an entry that is not here is removed. */
  networks: z.array(MigrationSubnet).max(256).optional(),
});

const HostBackup = z.strictObject({
  /** All of them: an entry that is not here is removed. */
  networks: z.array(MigrationSubnet).max(256).optional(),
});

const Host = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(80)
    .regex(/^[^\s/]+$/, "must be without spaces and slashes"),
  /** Needed for a host that is not there yet. */
  uri: z.string().min(1).max(2048).optional(),
  ssh: Ssh.optional(),
  migration: HostMigration.optional(),
  backup: HostBackup.optional(),
});

const Network = z.strictObject({
  /** Any of its subnets says which network is meant; without it the name does. */
  subnet: z.string().min(1).optional(),
  name: z.string().trim().min(1).max(80).optional(),
  role: z.enum(["none", "cluster", "cluster-and-client"]).optional(),
  metric: z
    .union([z.literal("auto"), z.int().min(1).max(MAX_METRIC)], { error: `expected auto or a whole number from 1 to ${MAX_METRIC}` })
    .optional(),
  description: z.string().max(500).optional(),
});

const LiveMigration = z.strictObject({
  /** Names, ids or subnets. Both lists are whole: they replace what was. */
  order: z.array(z.string().min(1)).max(1000).optional(),
  exclude: z.array(z.string().min(1)).max(1000).optional(),
  maximumParallelMigrations: z
    .union([z.literal("host"), migrations], { error: "expected a whole number from 0 to 1000, or host to let each host decide" })
    .optional(),
});

const refs = z.array(z.string().min(1)).max(1000);
const port = z.int().min(1024).max(65_535);

const BackupTraffic = z.strictObject({
  /** Names, ids or subnets. The lists are whole: they replace what was. */
  order: refs.optional(),
  exclude: refs.optional(),
  unencrypted: refs.optional(),
  firstPort: port.optional(),
  lastPort: port.optional(),
  /** A directory of the server's machine, or none. */
  tlsDirectory: z.union([z.literal("none"), z.string().startsWith("/")], { error: "expected an absolute path, or none" }).optional(),
  otherwise: z.enum(["ssh", "refuse"]).optional(),
});

const count = z.int().min(1).max(100_000);
const patterns = z.array(z.string().min(1).max(255)).max(1000);

const Group = z.strictObject({
  name: z.string().min(1).max(63),
  /** A registered vault, by name or id. */
  vault: z.string().min(1),
  members: z.strictObject({
    names: patterns.optional(),
    tags: patterns.optional(),
    hosts: patterns.optional(),
    pools: patterns.optional(),
    rest: z.boolean().optional(),
    except: patterns.optional(),
  }),
  schedule: z
    .strictObject({
      cron: z.array(z.string().max(200)).max(50).optional(),
      everyMinutes: z.int().min(1).optional(),
      timeZone: z.string().max(100).optional(),
      windows: z
        .array(z.strictObject({ days: z.array(z.enum(weekdays)).optional(), from: z.string(), to: z.string() }))
        .max(50)
        .optional(),
    })
    .optional(),
  retention: z
    .strictObject({
      last: count.optional(),
      hourly: count.optional(),
      daily: count.optional(),
      weekly: count.optional(),
      monthly: count.optional(),
      yearly: count.optional(),
      withinDays: count.optional(),
    })
    .optional(),
  limits: z.strictObject({ perHost: count.optional(), perPool: count.optional(), perVault: count.optional() }).optional(),
  bandwidth: z
    .array(
      z.strictObject({
        bytesPerSecond: z.int().min(1_000_000),
        hours: z.strictObject({ days: z.array(z.enum(weekdays)).optional(), from: z.string(), to: z.string() }).optional(),
      }),
    )
    .max(50)
    .optional(),
  checks: z.array(z.string().max(200)).max(50).optional(),
  paths: z.array(z.string().max(4096)).min(1).max(1000).optional(),
  retry: z.strictObject({ times: z.int().min(0).max(20), delayMinutes: z.number().min(1).max(1440) }).optional(),
  slaHours: count.optional(),
  onMigration: z.enum(["park", "finish"]).optional(),
  atLeast: z.enum(["crash", "filesystem", "application"]).optional(),
  webhook: z.string().max(2000).optional(),
  paused: z.boolean().optional(),
});

const Groups = z.strictObject({ groups: z.array(Group).max(1000).optional() });
export type GroupsSection = z.infer<typeof Groups>;

export const ClusterFile = z.strictObject({
  apiVersion: z.literal("godwit/v1"),
  kind: z.literal("Cluster"),
  /** With `true`, hosts and protection groups that are not in their lists are removed from Godwit; nothing on hosts or in vaults changes. */
  prune: z.boolean().default(false),
  hosts: z.array(Host).max(1000).optional(),
  networks: z.array(Network).max(1000).optional(),
  liveMigration: LiveMigration.optional(),
  backupTraffic: BackupTraffic.optional(),
  placement: PlacementSection.optional(),
  protection: Groups.optional(),
});
export type ClusterFile = z.infer<typeof ClusterFile>;
export type FileHost = z.infer<typeof Host>;
export type FileNetwork = z.infer<typeof Network>;
