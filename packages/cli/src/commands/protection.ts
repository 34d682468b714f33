import type { RecoveryPoint, VaultLocation } from "@godwit/api";
import type { Command } from "commander";
import { print, printList } from "../context.ts";
import { guestHook } from "../guest-hook.ts";
import { finishJob } from "../jobs.ts";
import { type Column, printable, renderFields } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import { type AddCommands, byteRate, type JobFlags, jobOptions, several, type WithContext } from "./command.ts";

const vaultColumns: readonly Column<VaultLocation>[] = [
  { title: "NAME", value: (vault) => vault.name },
  { title: "LOCATION", value: (vault) => vault.location },
  { title: "PASSPHRASE FILE", value: (vault) => vault.passphraseFile },
  { title: "ID", value: (vault) => vault.id },
];

const sizeOf = (point: RecoveryPoint): number => point.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0);

const pointColumns: readonly Column<RecoveryPoint>[] = [
  { title: "POINT", value: (point) => point.id.slice(0, 12) },
  { title: "VM", value: (point) => point.vm },
  { title: "TIME", value: (point) => point.time },
  { title: "CONSISTENCY", value: (point) => point.consistency },
  { title: "SIZE", value: (point) => formatBytes(sizeOf(point)), align: "right" },
  { title: "READ", value: (point) => formatBytes(point.readBytes), align: "right" },
  { title: "STORED", value: (point) => formatBytes(point.storedBytes), align: "right" },
  { title: "VAULT", value: (point) => point.vault },
];

/** All that is known of a recovery point. */
export function pointTable(point: RecoveryPoint): string {
  const [why, ...more] = point.reasons;
  const fields = renderFields([
    ["point", point.id],
    ["VM", point.vm],
    ["time", point.time],
    ["vault", point.vault],
    ["consistency", `${point.consistency}: ${point.evidence.join("; ") || "nobody was asked"}`],
    ["disks", point.disks.map((disk) => `${disk.name} (${formatBytes(disk.sizeBytes)})`).join(", ")],
    ["definition", point.bootable ? "kept: the VM can be made anew" : "not kept: only its disks"],
    ["read", formatBytes(point.readBytes)],
    ["stored", formatBytes(point.storedBytes)],
    ["captured against", point.parent],
    ["why", why],
  ]);
  return [fields, ...more.map((reason) => `  ${printable(reason)}\n`)].join("");
}

function addVaultLocations(program: Command, withContext: WithContext): void {
  const vaults = program.command("vault-location").description("vaults that the server knows");
  vaults
    .command("add <name> <location>")
    .description("register a vault that exists: a directory of the server, or a URL")
    .requiredOption("--passphrase-file <path>", "a file on the server's machine whose first line is the passphrase")
    .action((name: string, location: string, flags: { passphraseFile: string }) =>
      withContext(async (context) => {
        const added = await context.client.call("vaultLocationAdd", { body: { name, location, ...flags }, signal: context.signal });
        print(context, added, (vault) => `${vault.name} at ${vault.location} is registered\n`);
      }),
    );
  vaults
    .command("list")
    .description("list registered vaults")
    .action(() =>
      withContext(async (context) => {
        const all = await Array.fromAsync(context.client.all("vaultLocationList", { query: {}, signal: context.signal }));
        printList(context, all, vaultColumns, "no vault is registered");
      }),
    );
  vaults
    .command("remove <vault>")
    .description("forget a vault; nothing in it changes")
    .action((vault: string) =>
      withContext(async (context) => {
        await context.client.call("vaultLocationRemove", { params: { vault }, signal: context.signal });
      }),
    );
}

interface ProtectFlags extends JobFlags {
  readonly vault: string;
  readonly onMigration: "park" | "finish";
  readonly atLeast: "crash" | "filesystem" | "application";
  readonly bandwidth?: number;
  readonly check?: boolean;
}

function addProtect(program: Command, withContext: WithContext): void {
  const protect = program
    .command("protect <vm>")
    .description("take one recovery point of a VM now, while it runs")
    .requiredOption("--vault <vault>", "where to keep it: a registered vault")
    .option("--on-migration <what>", "when the VM must move meanwhile: park (it moves at once) or finish (the move waits)", "park")
    .option("--at-least <level>", "fail unless it is at least crash, filesystem or application consistent", "crash")
    .option("--check", "read all and compare it with the last point, whatever the list of changes says")
    .option("--bandwidth <rate>", "read at most this many bytes a second, such as 100M", byteRate);
  jobOptions(protect).action((vm: string, flags: ProtectFlags) =>
    withContext(async (context) => {
      const { vault, onMigration, atLeast, check, idempotencyKey } = flags;
      const body = {
        vault,
        onMigration,
        atLeast,
        ...(check && { check }),
        ...(flags.bandwidth !== undefined && { bandwidthBytesPerSecond: flags.bandwidth }),
      };
      await finishJob(
        context,
        await context.client.call("vmCapture", { params: { vm }, body, idempotencyKey, signal: context.signal }),
        flags,
      );
    }),
  );
}

interface FilesFlags extends JobFlags {
  readonly vault: string;
  readonly set?: string;
  readonly path: string[];
}

function addProtectFiles(program: Command, withContext: WithContext): void {
  const protect = program
    .command("protect-files <vm>")
    .description("keep files of a running guest, read through its agent")
    .requiredOption("--vault <vault>", "where to keep them: a registered vault")
    .requiredOption("--path <path>", "a file or folder in the guest; may be repeated", several(String))
    .option("--set <name>", "what the files are called: their points are VM:NAME");
  jobOptions(protect).action((vm: string, flags: FilesFlags) =>
    withContext(async (context) => {
      const { vault, set, path: paths, idempotencyKey } = flags;
      const body = { vault, paths, ...(set !== undefined && { set }) };
      const job = await context.client.call("vmCaptureFiles", { params: { vm }, body, idempotencyKey, signal: context.signal });
      await finishJob(context, job, flags);
    }),
  );
}

function addPoints(program: Command, withContext: WithContext): void {
  const points = program.command("point").description("recovery points");
  points
    .command("list [vm]")
    .description("list recovery points, of one VM or all")
    .option("--vault <vault>", "only of this vault")
    .action((vm: string | undefined, flags: { vault?: string }) =>
      withContext(async (context) => {
        const query = { ...flags, ...(vm !== undefined && { vm }) };
        const all = await Array.fromAsync(context.client.all("pointList", { query, signal: context.signal }));
        printList(context, all, pointColumns, "no recovery point");
      }),
    );
  points
    .command("show <point>")
    .description("show a recovery point, by the start of its id")
    .option("--vault <vault>", "the vault that it is in")
    .action((point: string, query: { vault?: string }) =>
      withContext(async (context) =>
        print(context, await context.client.call("pointGet", { params: { point }, query, signal: context.signal }), pointTable),
      ),
    );
}

export const addProtectionCommands: AddCommands = (program, withContext) => {
  addVaultLocations(program, withContext);
  addProtect(program, withContext);
  addProtectFiles(program, withContext);
  addPoints(program, withContext);
  program
    .command("guest-hook")
    .description("print the hook for a guest's agent that lets points be application-consistent")
    .action(() =>
      withContext(({ out }) => {
        out.write(guestHook);
        return Promise.resolve();
      }),
    );
};
