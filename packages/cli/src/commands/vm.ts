import type { MigrationPlan, Vm } from "@godwit/api";
import { print, printList } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { finishJob } from "../jobs.ts";
import { type Column, renderFields, renderTable } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import { type AddCommands, byteRate, integer, type JobFlags, jobOptions, type WithContext } from "./command.ts";
import { verdictColumns } from "./migration.ts";
import type { Command } from "commander";

const columns: readonly Column<Vm>[] = [
  { title: "NAME", value: (vm) => vm.name },
  { title: "HOST", value: (vm) => vm.host },
  { title: "STATE", value: (vm) => (vm.state === "unknown" ? `unknown (was ${vm.lastKnownState})` : vm.state) },
  { title: "CPUS", value: (vm) => vm.vcpus, align: "right" },
  { title: "MEMORY", value: (vm) => formatBytes(vm.memoryBytes), align: "right" },
  { title: "DISKS", value: (vm) => vm.disks.filter((disk) => disk.device === "disk").length, align: "right" },
  { title: "AGENT", value: (vm) => vm.agent },
  { title: "JOB", value: (vm) => vm.jobId ?? "" },
];

function vmTable(vm: Vm): string {
  const head = renderFields([
    ["name", vm.name],
    ["id", vm.id],
    ["title", vm.title],
    ["host", vm.host],
    ["state", vm.state === "unknown" ? `unknown; it was ${vm.lastKnownState} at ${vm.seenAt}` : vm.state],
    ["definition", vm.persistent ? "persistent" : "transient"],
    ["autostart", vm.autostart],
    ["cpu", `${vm.vcpus} × ${vm.cpu.model ?? vm.cpu.mode}`],
    ["memory", formatBytes(vm.memoryBytes)],
    ["machine", `${vm.machine ?? "default"}, type ${vm.domainType}`],
    ["agent", vm.agent],
    ["job", vm.jobId],
  ]);
  const disks = renderTable(
    [
      { title: "DISK", value: (disk) => disk.target },
      { title: "FORMAT", value: (disk) => disk.format },
      { title: "SIZE", value: (disk) => disk.capacityBytes && formatBytes(disk.capacityBytes), align: "right" },
      { title: "USED", value: (disk) => disk.allocatedBytes && formatBytes(disk.allocatedBytes), align: "right" },
      { title: "SOURCE", value: (disk) => `${disk.source.type} ${disk.source.pool ?? ""} ${disk.source.path ?? ""}`.replace(/\s+/g, " ") },
      { title: "BACKED BY", value: (disk) => disk.backingChain.join(" ← ") },
    ],
    vm.disks,
  );
  const nics = renderTable(
    [
      { title: "NIC", value: (nic) => nic.mac },
      { title: "MODEL", value: (nic) => nic.model },
      { title: "PLUGGED INTO", value: (nic) => `${nic.type} ${nic.source ?? ""}` },
    ],
    vm.nics,
  );
  return [head, vm.disks.length > 0 ? `\n${disks}` : "", vm.nics.length > 0 ? `\n${nics}` : ""].join("");
}

/** A plan as people read it: the networks in order, then every check that did not simply pass. */
export function planTable(plan: MigrationPlan): string {
  const notable = plan.checks.filter((check) => check.verdict === "fail" || check.verdict === "warn");
  const checks = notable.map(
    (check) => `${check.verdict.toUpperCase()} ${check.id}: ${check.text}\n${check.remedy === undefined ? "" : `     → ${check.remedy}\n`}`,
  );
  const passed = plan.checks.filter((check) => check.verdict === "pass").length;
  return [
    `${plan.vm}: ${plan.source} → ${plan.destination} (${plan.kind}): ${plan.possible ? "possible" : "refused"}\n\n`,
    renderTable(verdictColumns, plan.networks),
    `\n${passed} checks passed\n`,
    ...checks,
  ].join("");
}

interface MigrateFlags extends JobFlags {
  readonly to: string;
  readonly storage?: string;
  readonly p2p: boolean;
  readonly bandwidth?: number;
  readonly autoConverge: boolean;
  readonly maxPause?: number;
  readonly dryRun: boolean;
}

function addMigrate(vm: Command, withContext: WithContext): void {
  const migrate = vm
    .command("migrate <vm>")
    .description("move a running VM to another host while it runs")
    .requiredOption("--to <host>", "destination host")
    .option("--storage <pool>", "copy its disks as well, into this storage pool of the destination")
    .option("--p2p", "let the source host drive it: the hosts must trust each other, and it goes on without the server", false)
    .option("--bandwidth <rate>", "at most this many bytes a second, such as 100M", byteRate)
    .option("--auto-converge", "slow the guest's CPUs when memory changes faster than it can be sent", false)
    .option("--max-pause <ms>", "pause that the last round may take, in milliseconds", integer)
    .option("--dry-run", "only check and say what would be done", false);
  jobOptions(migrate).action((name: string, flags: MigrateFlags) =>
    withContext(async (context) => {
      const body = {
        to: flags.to,
        peerToPeer: flags.p2p,
        autoConverge: flags.autoConverge,
        dryRun: flags.dryRun,
        ...(flags.storage !== undefined && { storagePool: flags.storage }),
        ...(flags.bandwidth !== undefined && { bandwidthBytesPerSecond: flags.bandwidth }),
        ...(flags.maxPause !== undefined && { maximumPauseMs: flags.maxPause }),
      };
      const { idempotencyKey } = flags;
      if (flags.dryRun) {
        const plan = await context.client.call("vmMigrationPlan", { params: { vm: name }, body, signal: context.signal });
        print(context, plan, planTable);
        if (!plan.possible) throw new CliError(exitCode.refused, `${plan.vm} cannot move to ${plan.destination} as things are`);
        return;
      }
      const job = await context.client.call("vmMigrate", { params: { vm: name }, body, idempotencyKey, signal: context.signal });
      await finishJob(context, job, flags);
    }),
  );
}

export const addVmCommands: AddCommands = (program, withContext) => {
  const vm = program.command("vm").description("virtual machines");
  vm.command("list")
    .description("list VMs")
    .option("--host <host>", "only those of this host")
    .action((flags: { host?: string }) =>
      withContext(async (context) => {
        const vms = await Array.fromAsync(context.client.all("vmList", { query: flags, signal: context.signal }));
        printList(context, vms, columns, "no VM on any host");
      }),
    );
  vm.command("show <vm>")
    .description("show a VM with its disks and network cards")
    .action((name: string) =>
      withContext(async (context) =>
        print(context, await context.client.call("vmGet", { params: { vm: name }, signal: context.signal }), vmTable),
      ),
    );
  jobOptions(vm.command("start <vm>").description("start a VM")).action((name: string, flags: JobFlags) =>
    withContext(async (context) => {
      const { idempotencyKey } = flags;
      await finishJob(
        context,
        await context.client.call("vmStart", { params: { vm: name }, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
  const stop = vm
    .command("stop <vm>")
    .description("shut a VM down")
    .option("--off", "pull the plug instead of asking the guest", false)
    .option("--timeout <seconds>", "how long the guest may take", integer, 300);
  jobOptions(stop).action((name: string, flags: JobFlags & { off: boolean; timeout: number }) =>
    withContext(async (context) => {
      const body = { mode: flags.off ? ("off" as const) : ("shutdown" as const), timeoutSeconds: flags.timeout };
      const { idempotencyKey } = flags;
      await finishJob(
        context,
        await context.client.call("vmStop", { params: { vm: name }, body, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
  addMigrate(vm, withContext);
};
