import { z } from "zod";
import { ApplyRequest, ApplyResult } from "./apply.ts";
import { PageQuery, pageOf } from "./common.ts";
import { Host, HostAdd, StoragePool } from "./host.ts";
import { Job, JobQuery } from "./job.ts";
import { MigrationPlan, MigrationRequest, NetworkVerdict, StorageMoveRequest } from "./migration.ts";
import {
  HostMigrationEdit,
  HostMigrationSettings,
  LiveMigrationEdit,
  LiveMigrationSettings,
  MigrationNetwork,
  MigrationNetworkAdd,
  MigrationNetworkEdit,
  Network,
  NetworkEdit,
  NetworkInterface,
} from "./network.ts";
import { placementRoutes } from "./placement-routes.ts";
import { protectionGroupRoutes } from "./protection-groups.ts";
import {
  CaptureRequest,
  FilesCaptureRequest,
  FilesRecoverRequest,
  KeptImages,
  RecoverRequest,
  RecoveryPoint,
  VaultLocation,
  VaultLocationAdd,
} from "./protection.ts";
import { route } from "./route.ts";
import { ChangeEvent, DoctorReport, ServerInfo } from "./system.ts";
import { validationRoutes } from "./validation.ts";
import { Vm, VmStop } from "./vm.ts";

const startsJob = { startsJob: true, status: 202, response: Job } as const;
const Subnet = z.object({ subnet: z.string().min(1) });

/** Every operation. `{host}`, `{vm}` and `{network}` take an id or a name; an ambiguous name is refused. */
export const routes = {
  serverInfo: route({ method: "GET", path: "/server", tag: "server", summary: "What this server is", response: ServerInfo }),
  doctor: route({
    method: "POST",
    path: "/doctor",
    tag: "server",
    summary: "Check the server's machine and every host",
    response: DoctorReport,
  }),
  events: route({ method: "GET", path: "/events", tag: "server", summary: "Changes as they happen", response: ChangeEvent, streams: true }),
  apply: route({
    method: "POST",
    path: "/apply",
    tag: "server",
    summary: "Make the cluster as a file says",
    body: ApplyRequest,
    response: ApplyResult,
  }),

  hostList: route({ method: "GET", path: "/hosts", tag: "hosts", summary: "List hosts", query: PageQuery, response: pageOf(Host) }),
  hostAdd: route({ method: "POST", path: "/hosts", tag: "hosts", summary: "Add a host", body: HostAdd, response: Host, status: 201 }),
  hostGet: route({ method: "GET", path: "/hosts/{host}", tag: "hosts", summary: "Show a host", response: Host }),
  hostRemove: route({ method: "DELETE", path: "/hosts/{host}", tag: "hosts", summary: "Forget a host; nothing on it changes" }),
  storagePoolList: route({
    method: "GET",
    path: "/storage-pools",
    tag: "hosts",
    summary: "List storage pools",
    query: PageQuery.extend({ host: z.string().optional() }),
    response: pageOf(StoragePool),
  }),

  vmList: route({
    method: "GET",
    path: "/vms",
    tag: "vms",
    summary: "List VMs",
    query: PageQuery.extend({ host: z.string().optional() }),
    response: pageOf(Vm),
  }),
  vmGet: route({ method: "GET", path: "/vms/{vm}", tag: "vms", summary: "Show a VM", response: Vm }),
  vmStart: route({ method: "POST", path: "/vms/{vm}/start", tag: "vms", summary: "Start a VM", ...startsJob }),
  vmStop: route({
    method: "POST",
    path: "/vms/{vm}/stop",
    tag: "vms",
    summary: "Shut a VM down, or turn it off",
    body: VmStop,
    ...startsJob,
  }),
  vmMigrate: route({
    method: "POST",
    path: "/vms/{vm}/migrate",
    tag: "migration",
    summary: "Move a running VM",
    body: MigrationRequest,
    ...startsJob,
  }),
  vmMigrationPlan: route({
    method: "POST",
    path: "/vms/{vm}/migration-plan",
    tag: "migration",
    summary: "What a migration would do, and whether it may",
    body: MigrationRequest,
    response: MigrationPlan,
  }),
  vmMoveStorage: route({
    method: "POST",
    path: "/vms/{vm}/move-storage",
    tag: "migration",
    summary: "Move disks to another storage pool of their host",
    body: StorageMoveRequest,
    ...startsJob,
  }),
  migrationExplain: route({
    method: "GET",
    path: "/vms/{vm}/migration-networks",
    tag: "migration",
    summary: "Every network with its rank and reason",
    query: z.object({ to: z.string().min(1) }),
    response: z.object({ vm: z.string(), source: z.string(), destination: z.string(), networks: z.array(NetworkVerdict) }),
  }),

  networkList: route({
    method: "GET",
    path: "/networks",
    tag: "networks",
    summary: "List cluster networks",
    query: PageQuery,
    response: pageOf(Network),
  }),
  networkGet: route({ method: "GET", path: "/networks/{network}", tag: "networks", summary: "Show a network", response: Network }),
  networkEdit: route({
    method: "PATCH",
    path: "/networks/{network}",
    tag: "networks",
    summary: "Rename a network, set role or metric",
    body: NetworkEdit,
    response: Network,
  }),
  networkProbe: route({
    method: "POST",
    path: "/networks/probe",
    tag: "networks",
    summary: "Gather facts and probe reachability now",
    response: pageOf(Network),
  }),
  networkInterfaceList: route({
    method: "GET",
    path: "/network-interfaces",
    tag: "networks",
    summary: "List the interfaces of cluster networks",
    query: PageQuery.extend({ host: z.string().optional(), network: z.string().optional() }),
    response: pageOf(NetworkInterface),
  }),

  liveMigrationGet: route({
    method: "GET",
    path: "/live-migration",
    tag: "migration",
    summary: "Cluster-wide order and exclusions",
    response: LiveMigrationSettings,
  }),
  liveMigrationSet: route({
    method: "PATCH",
    path: "/live-migration",
    tag: "migration",
    summary: "Set cluster-wide order, exclusions and limit",
    body: LiveMigrationEdit,
    response: LiveMigrationSettings,
  }),
  hostMigrationGet: route({
    method: "GET",
    path: "/hosts/{host}/migration",
    tag: "migration",
    summary: "A host's migration settings",
    response: HostMigrationSettings,
  }),
  hostMigrationSet: route({
    method: "PATCH",
    path: "/hosts/{host}/migration",
    tag: "migration",
    summary: "Set a host's migration settings",
    body: HostMigrationEdit,
    response: HostMigrationSettings,
  }),
  migrationNetworkList: route({
    method: "GET",
    path: "/migration-networks",
    tag: "migration",
    summary: "List hosts' migration subnets",
    query: PageQuery.extend({ host: z.string().optional(), subnet: z.string().optional(), priority: z.coerce.number().int().optional() }),
    response: pageOf(MigrationNetwork),
  }),
  migrationNetworkAdd: route({
    method: "POST",
    path: "/hosts/{host}/migration-networks",
    tag: "migration",
    summary: "Add a migration subnet to a host",
    body: MigrationNetworkAdd,
    response: MigrationNetwork,
    status: 201,
  }),
  migrationNetworkSet: route({
    method: "PATCH",
    path: "/hosts/{host}/migration-networks",
    tag: "migration",
    summary: "Change subnet or priority of a host's entries",
    body: MigrationNetworkEdit,
    response: pageOf(MigrationNetwork),
  }),
  migrationNetworkRemove: route({
    method: "DELETE",
    path: "/hosts/{host}/migration-networks",
    tag: "migration",
    summary: "Remove a migration subnet from a host",
    query: Subnet,
  }),

  vaultLocationList: route({
    method: "GET",
    path: "/vault-locations",
    tag: "protection",
    summary: "List registered vaults",
    query: PageQuery,
    response: pageOf(VaultLocation),
  }),
  vaultLocationAdd: route({
    method: "POST",
    path: "/vault-locations",
    tag: "protection",
    summary: "Register a vault",
    body: VaultLocationAdd,
    response: VaultLocation,
    status: 201,
  }),
  vaultLocationRemove: route({
    method: "DELETE",
    path: "/vault-locations/{vault}",
    tag: "protection",
    summary: "Forget a vault; nothing in it changes",
  }),
  vmCapture: route({
    method: "POST",
    path: "/vms/{vm}/capture",
    tag: "protection",
    summary: "Take one recovery point of a VM now",
    body: CaptureRequest,
    ...startsJob,
  }),
  pointList: route({
    method: "GET",
    path: "/points",
    tag: "protection",
    summary: "List recovery points, oldest first",
    query: PageQuery.extend({ vault: z.string().optional(), vm: z.string().optional() }),
    response: pageOf(RecoveryPoint),
  }),
  pointGet: route({
    method: "GET",
    path: "/points/{point}",
    tag: "protection",
    summary: "Show a recovery point, by the start of its id",
    query: z.object({ vault: z.string().optional() }),
    response: RecoveryPoint,
  }),
  pointRecover: route({
    method: "POST",
    path: "/points/{point}/recover",
    tag: "protection",
    summary: "Recover a VM, or disks of it, from a recovery point",
    body: RecoverRequest,
    ...startsJob,
  }),
  vmCaptureFiles: route({
    method: "POST",
    path: "/vms/{vm}/capture-files",
    tag: "protection",
    summary: "Keep files of a guest, read through its agent",
    body: FilesCaptureRequest,
    ...startsJob,
  }),
  pointRecoverFiles: route({
    method: "POST",
    path: "/points/{point}/recover-files",
    tag: "protection",
    summary: "Bring kept files back into a guest",
    body: FilesRecoverRequest,
    ...startsJob,
  }),
  keptImagesList: route({
    method: "GET",
    path: "/kept-images",
    tag: "protection",
    summary: "Images that recoveries replaced, until their VMs have proven themselves",
    query: PageQuery,
    response: pageOf(KeptImages),
  }),
  recoveryConfirm: route({
    method: "POST",
    path: "/vms/{vm}/confirm-recovery",
    tag: "protection",
    summary: "Remove the images that a recovery replaced",
    ...startsJob,
  }),
  ...placementRoutes,
  ...validationRoutes,

  jobList: route({
    method: "GET",
    path: "/jobs",
    tag: "jobs",
    summary: "List jobs, newest first",
    query: PageQuery.extend(JobQuery.shape),
    response: pageOf(Job),
  }),
  jobGet: route({ method: "GET", path: "/jobs/{job}", tag: "jobs", summary: "Show a job", response: Job }),
  jobWatch: route({
    method: "GET",
    path: "/jobs/{job}/events",
    tag: "jobs",
    summary: "A job's changes until it ends",
    response: Job,
    streams: true,
  }),
  jobCancel: route({ method: "POST", path: "/jobs/{job}/cancel", tag: "jobs", summary: "Ask a job to stop", response: Job, status: 202 }),
  ...protectionGroupRoutes,
} as const;

export type RouteName = keyof typeof routes;
