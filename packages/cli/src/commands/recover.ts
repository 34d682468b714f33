import { type Command, InvalidArgumentError, Option } from "commander";
import type { KeptImages } from "@godwit/api";
import { printList } from "../context.ts";
import { finishJob } from "../jobs.ts";
import type { Column } from "../output/table.ts";
import { type AddCommands, type JobFlags, jobOptions, nameList, type WithContext } from "./command.ts";

interface VmFlags extends JobFlags {
  readonly vault?: string;
  readonly to?: string;
  readonly storage?: string;
  readonly name?: string;
  readonly newIdentity?: boolean;
  readonly network?: Readonly<Record<string, string>>;
  readonly replace?: boolean;
  readonly inPlace?: boolean;
  readonly disks?: readonly string[];
  readonly start: boolean;
  readonly keepOld?: boolean;
}

interface DiskFlags extends JobFlags {
  readonly vault?: string;
  readonly to: string;
  readonly storage: string;
}

/** `old=new`, once for each network. */
function mapping(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError("OLD=NEW is needed.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function addVm(recover: Command, withContext: WithContext): void {
  const vm = recover
    .command("vm <point>")
    .description("make a VM of a recovery point (the start of its id, or a VM's name for the newest)")
    .option("--vault <vault>", "the vault that the point is in")
    .option("--to <host>", "host of the new VM")
    .option("--storage <pool>", "storage pool for its images")
    .option("--name <name>", "name of the new VM")
    .option("--new-identity", "give it another UUID and other network addresses")
    .option("--network <old=new>", "plug network cards into another network; may be repeated", mapping)
    .option("--disks <names>", "only these disks, such as vda,vdb", nameList)
    .option("--replace", "give the VM that was captured new images; the old ones are kept aside")
    .addOption(
      new Option("--in-place", "write what differs into the images of the VM that was captured").conflicts([
        "replace",
        "to",
        "storage",
        "name",
      ]),
    )
    .option("--keep-old", "with --replace: keep the old images until 'recover confirm', not only until it boots")
    .option("--start", "start it when it is there", false);
  jobOptions(vm).action((point: string, flags: VmFlags) =>
    withContext(async (context) => {
      const { vault, to, storage, name, newIdentity, network, disks, replace, inPlace, start, keepOld, idempotencyKey } = flags;
      const body = {
        mode: inPlace === true ? ("in-place" as const) : replace === true ? ("replace" as const) : ("new" as const),
        start,
        ...(keepOld && { keepOld }),
        ...(vault !== undefined && { vault }),
        ...(to !== undefined && { to }),
        ...(storage !== undefined && { storagePool: storage }),
        ...(name !== undefined && { name }),
        ...(newIdentity !== undefined && { newIdentity }),
        ...(network !== undefined && { networks: network }),
        ...(disks !== undefined && { disks: [...disks] }),
      };
      await finishJob(
        context,
        await context.client.call("pointRecover", { params: { point }, body, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
}

function addDisk(recover: Command, withContext: WithContext): void {
  const disk = recover
    .command("disk <point> <disk>")
    .description("make an image of one disk of a recovery point")
    .option("--vault <vault>", "the vault that the point is in")
    .requiredOption("--to <host>", "host that gets the image")
    .requiredOption("--storage <pool>", "storage pool for the image");
  jobOptions(disk).action((point: string, name: string, flags: DiskFlags) =>
    withContext(async (context) => {
      const { vault, to, storage, idempotencyKey } = flags;
      const body = { mode: "disk" as const, to, storagePool: storage, disks: [name], ...(vault !== undefined && { vault }) };
      await finishJob(
        context,
        await context.client.call("pointRecover", { params: { point }, body, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
}

interface FilesFlags extends JobFlags {
  readonly vault?: string;
  readonly to: string;
  readonly into: string;
}

function addFiles(recover: Command, withContext: WithContext): void {
  const files = recover
    .command("files <point>")
    .description("bring kept files back into a running guest")
    .option("--vault <vault>", "the vault that the point is in")
    .requiredOption("--to <vm>", "the VM that gets them")
    .requiredOption("--into <folder>", "a folder in the guest, which is made; what is there stays unless it is among the files");
  jobOptions(files).action((point: string, flags: FilesFlags) =>
    withContext(async (context) => {
      const { vault, to: vm, into, idempotencyKey } = flags;
      const body = { vm, into, ...(vault !== undefined && { vault }) };
      const job = await context.client.call("pointRecoverFiles", { params: { point }, body, idempotencyKey, signal: context.signal });
      await finishJob(context, job, flags);
    }),
  );
}

const keptColumns: readonly Column<KeptImages>[] = [
  { title: "VM", value: ({ vm }) => vm },
  { title: "HOST", value: ({ host }) => host },
  { title: "SINCE", value: ({ since }) => since },
  { title: "UNTIL", value: ({ until, vm }) => (until === "boots" ? "it has booted" : `godwit recover confirm ${vm}`) },
  { title: "IMAGES", value: ({ paths }) => paths.join(", ") },
];

function addKept(recover: Command, withContext: WithContext): void {
  recover
    .command("kept")
    .description("images that were replaced, and are kept aside")
    .action(() =>
      withContext(async (context) => {
        const kept = await Array.fromAsync(context.client.all("keptImagesList", { query: {}, signal: context.signal }));
        printList(context, kept, keptColumns, "nothing is kept aside");
      }),
    );
  const confirm = recover.command("confirm <vm>").description("the replaced VM is well: remove its old images");
  jobOptions(confirm).action((vm: string, flags: JobFlags) =>
    withContext(async (context) => {
      const { idempotencyKey } = flags;
      await finishJob(
        context,
        await context.client.call("recoveryConfirm", { params: { vm }, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
}

export const addRecoverCommands: AddCommands = (program, withContext) => {
  const recover = program.command("recover").description("bring back what a recovery point holds");
  addVm(recover, withContext);
  addDisk(recover, withContext);
  addFiles(recover, withContext);
  addKept(recover, withContext);
};
