import type { ApplyResult, DoctorReport, MigrationPlan, MigrationRequest, StorageMoveRequest } from "@godwit/api";
import type { JsonObject } from "@godwit/core";
import type {
  BackupRoute,
  BalancePlan,
  CaptureInput,
  CaptureWish,
  ConfirmInput,
  ComparisonReport,
  CpuBaseline,
  DrainPlan,
  FilesCaptureInput,
  FilesCaptureWish,
  FilesRecoverInput,
  FilesRecoverWish,
  FoundPoint,
  GenerationIdResult,
  Inventory,
  JobRunner,
  KeptImages,
  MaintenanceRecord,
  Networks,
  PausePolicy,
  PlacementSettings,
  ProvenPlacement,
  RecoverInput,
  RecoverWish,
  TrialsInput,
  ValidationReport,
  VaultAdd,
  VaultRecord,
} from "@godwit/engine";
import type { z } from "zod";
import type { AlertsService, GroupsService } from "./handlers/protection-groups.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

export type InventoryService = Pick<Inventory, "hosts" | "host" | "vms" | "vm" | "pools" | "addHost" | "removeHost" | "changes">;

export type NetworksService = Pick<
  Networks,
  | "list"
  | "get"
  | "edit"
  | "refresh"
  | "interfaces"
  | "liveMigration"
  | "setLiveMigration"
  | "hostMigration"
  | "setHostMigration"
  | "verdicts"
  | "backupTraffic"
  | "setBackupTraffic"
  | "backupVerdicts"
  | "changes"
> & {
  readonly [Lists in "migrationNetworks" | "backupNetworks"]: Pick<
    Networks["migrationNetworks"],
    "host" | "list" | "add" | "set" | "remove"
  >;
};

export type JobsService = Pick<
  JobRunner,
  "submit" | "repeated" | "cancel" | "get" | "list" | "unfinished" | "watch" | "watchAll" | "nudge"
>;

/** A migration as it was asked for, defaults filled in, and its destination chosen where none was named. */
export type WantedMigration = z.output<typeof MigrationRequest> & { readonly to: string };

/** A move of disks as it was asked for. */
export type WantedStorageMove = z.output<typeof StorageMoveRequest>;

export interface MigrationsService {
  /** What a migration would do, and whether it may. Rejects with `not-found`, `ambiguous` or `host-lost`. */
  plan(vm: string, wanted: WantedMigration, options: Cancellable): Promise<MigrationPlan>;
  /** The input of the job `vm.migrate`, with ids in place of names. Nothing is checked yet: the job does that. */
  jobInput(vm: string, wanted: WantedMigration): JsonObject;
  /** Changes the definition of a VM that has no VM-Generation-ID yet. */
  ensureGenerationId(vm: string, options: Cancellable): Promise<GenerationIdResult>;
  /** The same of the job `vm.move-storage`. */
  storageJobInput(vm: string, wanted: WantedStorageMove): JsonObject;
}

export interface ApplyService {
  apply(document: string, options: Cancellable & { readonly fileName: string; readonly dryRun: boolean }): Promise<ApplyResult>;
}

export interface ProtectionService {
  vaults(): Promise<VaultRecord[]>;
  addVault(vault: VaultAdd, options: Cancellable): Promise<VaultRecord>;
  removeVault(ref: string): Promise<void>;
  /** The input of the job `vm.capture`, with ids in place of names. */
  captureInput(wish: CaptureWish): Promise<CaptureInput>;
  /** The input of the job `vm.recover`. */
  recoverInput(wish: RecoverWish, options: Cancellable): Promise<RecoverInput>;
  /** The ways of a host's backup traffic, best first. Rejects with `refused` when there is none. */
  routes(host: string, options: Cancellable): Promise<BackupRoute[]>;
  /** The input of the job `vm.capture-files`. */
  filesInput(wish: FilesCaptureWish): Promise<FilesCaptureInput>;
  /** The input of the job `vm.recover-files`. */
  filesRecoverInput(wish: FilesRecoverWish, options: Cancellable): Promise<FilesRecoverInput>;
  keptImages(): Promise<KeptImages[]>;
  /** The input of the job `vm.confirm-recovery`. */
  confirmInput(vm: string): Promise<ConfirmInput>;
  points(filter: { readonly vault?: string | undefined; readonly vm?: string | undefined }, options: Cancellable): Promise<FoundPoint[]>;
  point(ref: string, vault: string | undefined, options: Cancellable): Promise<FoundPoint>;
}

/** Where VMs run. Hosts and VMs by id or name; everything rejects with `not-found` or `ambiguous`. */
export interface PlacementService {
  settings(): Promise<PlacementSettings>;
  /** Rejects with `invalid` and every problem. */
  replaceSettings(settings: PlacementSettings): Promise<PlacementSettings>;
  choose(vm: string, options: Cancellable & { readonly to?: readonly string[] | undefined }): Promise<ProvenPlacement>;
  /** The pause that a VM's workload and rules allow a live migration. */
  contract(vm: string): Promise<{ readonly maximumPauseMs?: number | undefined; readonly pausePolicy?: PausePolicy | undefined }>;
  drainPlan(host: string, options: Cancellable & { readonly to?: readonly string[] | undefined }): Promise<DrainPlan>;
  balancePlan(options: Cancellable & { readonly actAbove: number }): Promise<BalancePlan>;
  maintenance(hostId: string): MaintenanceRecord | undefined;
}

/** Comparing CPUs, and testing the cluster. What is wrong is in the reports; `compare` rejects with `not-found` or `ambiguous`. */
export interface ValidationService {
  baseline(options: Cancellable): Promise<CpuBaseline>;
  compare(vm: string, options: Cancellable & { readonly to?: string | undefined }): Promise<ComparisonReport>;
  /** The input of the job `cluster.try-migrations`: every host. */
  trialsInput(): TrialsInput;
  /** `trials` is the id of such a job that has ended: its checks become part of the report. */
  validate(options: Cancellable & { readonly trials?: string | undefined }): Promise<ValidationReport>;
}

/** All that the HTTP layer needs of Godwit; it has no other way to it. */
export interface Services {
  readonly inventory: InventoryService;
  readonly networks: NetworksService;
  readonly jobs: JobsService;
  readonly migrations: MigrationsService;
  readonly placement: PlacementService;
  readonly validation: ValidationService;
  readonly protection: ProtectionService;
  readonly groups: GroupsService;
  readonly alerts: AlertsService;
  /** The ids of alerts that were raised or resolved, until `signal` fires. */
  alertChanges(options: Cancellable): AsyncIterable<string>;
  readonly cluster: ApplyService;
  /** Looks at the server's machine and every host; never rejects because of what it finds. */
  doctor(options: Cancellable): Promise<DoctorReport>;
}
