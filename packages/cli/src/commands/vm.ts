import type { GenerationIdResult, Vm } from "@godwit/api";
import { print, printList } from "../context.ts";
import { finishJob } from "../jobs.ts";
import { type Column, renderFields, renderTable } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import { type AddCommands, integer, type JobFlags, jobOptions } from "./command.ts";
import { addMigrate, addMoveStorage } from "./move.ts";

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

const said: Readonly<Record<GenerationIdResult["outcome"], string>> = {
  there: "has one already",
  added: "has one now",
  "at-next-start": "has one from its next start on: shut it down, and start it",
};

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
  vm.command("add-generation-id <vm>")
    .description("give a VM a VM-Generation-ID, by which it notices that it was rolled back or copied")
    .action((name: string) =>
      withContext(async (context) =>
        print(
          context,
          await context.client.call("vmGenerationId", { params: { vm: name }, signal: context.signal }),
          ({ vm, outcome }) => `${vm} ${said[outcome]}\n`,
        ),
      ),
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
  addMoveStorage(vm, withContext);
};
