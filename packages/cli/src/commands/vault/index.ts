import { type Command, Option } from "commander";
import type { Format } from "../../context.ts";
import type { Surroundings } from "../../root.ts";
import type { VerifyFlags } from "./care.ts";
import { type AccessFlags, accessOptions, type VaultContext } from "./context.ts";
import type { InitFlags } from "./init.ts";
import type { CopyFlags } from "./copy.ts";
import type { GcFlags } from "./gc.ts";
import type { HoldFlags } from "./holds.ts";
import type { AddKeyFlags, RekeyFlags } from "./keys.ts";
import type { MapFlags } from "./map.ts";
import type { PruneFlags } from "./prune.ts";
import type { PutFlags } from "./put.ts";
import type { RestoreFlags } from "./restore.ts";
import type { StatusFlags } from "./status.ts";
import { byteCount, collect, count, date, span } from "./values.ts";

/** Makes the context when a verb runs: the global options are known only then. */
type Enter = () => VaultContext;

function addInit(vault: Command, enter: Enter): void {
  accessOptions(vault.command("init [location]"))
    .description("make a vault in an empty place")
    .option("--grid <size>", "chunk size, a power of two from 4K to 4M; stays for good (64K)", byteCount)
    .option("--label <text>", "a name for the first key slot", "first")
    .action(
      async (location: string | undefined, flags: InitFlags) => await (await import("./init.ts")).initVault(location, flags, enter()),
    );
}

const compressionOption = (): Option =>
  new Option("--compression <how>", "small takes more CPU time and fewer bytes").choices(["fast", "small"]).default("fast");

function addPut(vault: Command, enter: Enter): void {
  accessOptions(vault.command("put <image...>"))
    .description("store images as one recovery point; an image is [DISK=]FILE, [DISK=]DEVICE or [DISK=]NBD-URI")
    .requiredOption("--name <vm>", "the VM's name")
    .option("--base <point>", "the point that --changed starts from")
    .option("--changed <[disk=]map>", "what changed since: a JSON file of extents, or nbd:BITMAP", collect, [])
    .addOption(
      new Option("--consistency <level>", "how consistent the images are").choices(["crash", "filesystem", "application"]).default("crash"),
    )
    .option("--evidence <text>", "how that is known; may be repeated", collect, [])
    .option("--definition <path>", "file with the machine's definition, to be kept along")
    .addOption(compressionOption())
    .action(async (images: string[], flags: PutFlags) => await (await import("./put.ts")).putImages(images, flags, enter()));
}

function addLooking(vault: Command, enter: Enter): void {
  accessOptions(vault.command("status"))
    .description("what the vault holds, what is under way, and what is held until when")
    .option("--estimate", "also walk all trees, and say what is of no use any more", false)
    .option("--check-locks", "also ask the storage until when it keeps what locked points need", false)
    .action(async (flags: StatusFlags) => await (await import("./status.ts")).vaultStatus(flags, enter()));
  accessOptions(vault.command("list"))
    .description("list recovery points")
    .option("--name <vm>", "only of this VM")
    .action(async (flags: AccessFlags & { name?: string }) => await (await import("./points.ts")).listPoints(flags, enter()));
  accessOptions(vault.command("show <point>"))
    .description("show a recovery point: the start of its id, or a VM's name for its latest")
    .option("--definition", "print only the machine's definition", false)
    .action(
      async (point: string, flags: AccessFlags & { definition: boolean }) =>
        await (await import("./points.ts")).showPoint(point, flags, enter()),
    );
  accessOptions(vault.command("diff <from> <to>"))
    .description("where a disk differs between two points; TO may be POINT:DISK")
    .action(
      async (from: string, to: string, flags: AccessFlags) => await (await import("./points.ts")).diffPoints(from, to, flags, enter()),
    );
}

function addRestoring(vault: Command, enter: Enter): void {
  accessOptions(vault.command("restore <point> <target>"))
    .description("write POINT[:DISK] to a file, a block device or an NBD URI, or all disks into a directory")
    .option("--in-place", "write only what differs from what the target holds", false)
    .option("--salvage", "go on past damage, and report it", false)
    .action(
      async (point: string, target: string, flags: RestoreFlags) =>
        await (await import("./restore.ts")).restorePoint(point, target, flags, enter()),
    );
  accessOptions(vault.command("map <point>"))
    .description("serve POINT[:DISK] over NBD until Ctrl-C")
    .option("--socket <path>", "serve on a Unix socket")
    .option("--listen <host:port>", "serve on TCP; port 0 takes a free one")
    .option("--tls <directory>", "demand TLS, with ca-cert.pem, server-cert.pem and server-key.pem")
    .option("--write-overlay <file>", "let clients write, and keep what they write in this file")
    .option("--cache <size>", "keep so much of what was read in memory (an eighth of the memory, 1G at most)", byteCount)
    .action(async (point: string, flags: MapFlags) => await (await import("./map.ts")).mapPoint(point, flags, enter()));
}

function addCare(vault: Command, enter: Enter): void {
  accessOptions(vault.command("verify [point...]"))
    .description("find damage, quarantine it, and say which points it hurts (exit code 4)")
    .option("--budget <bytes>", "read no more of the chunks than this, chosen at random", byteCount)
    .option("--no-quarantine", "only look")
    .action(async (points: string[], flags: VerifyFlags) => await (await import("./care.ts")).verifyVault(points, flags, enter()));
  accessOptions(vault.command("repair"))
    .description("make indexes and config anew from what is whole")
    .action(async (flags: AccessFlags) => await (await import("./care.ts")).repairVault(flags, enter()));
}

function addKeys(vault: Command, enter: Enter): void {
  const key = vault.command("key").description("who can open the vault");
  accessOptions(key.command("list"))
    .description("list key slots")
    .action(async (flags: AccessFlags) => await (await import("./keys.ts")).listKeys(flags, enter()));
  accessOptions(key.command("add"))
    .description("add a passphrase or a key file")
    .option("--new-passphrase-file <path>", "file with the new passphrase")
    .option("--new-key-file <path>", "the new key file")
    .option("--label <text>", "a name for the slot", "")
    .action(async (flags: AddKeyFlags) => await (await import("./keys.ts")).addKey(flags, enter()));
  accessOptions(key.command("revoke <slot>"))
    .description("remove a key slot")
    .action(async (slot: string, flags: AccessFlags) => await (await import("./keys.ts")).revokeKey(slot, flags, enter()));
  accessOptions(key.command("export"))
    .description("make a recovery code, and print it as a sheet for paper")
    .option("--label <text>", "a name for the slot", "paper")
    .action(async (flags: AccessFlags & { label: string }) => await (await import("./keys.ts")).exportKey(flags, enter()));
  accessOptions(key.command("rekey"))
    .description("seal what is stored from now on with a new key")
    .option("--rewrite", "instead, seal what is stored already with the present key, and drop the old ones when all is done", false)
    .option("--max-rewrite <size>", "bytes to rewrite in this run (4G)", byteCount)
    .action(async (flags: RekeyFlags) => await (await import("./keys.ts")).rekey(flags, enter()));
}

function addPruning(vault: Command, enter: Enter): void {
  accessOptions(vault.command("prune"))
    .description("delete the points that no rule keeps; says of each point why it stays or goes")
    .option("--name <vm>", "only this VM's points; may be repeated", collect, [])
    .option("--keep-last <n>", "the newest points", count)
    .option("--keep-hourly <n>", "the newest of each of the newest n hours that have one", count)
    .option("--keep-daily <n>", "and so for days", count)
    .option("--keep-weekly <n>", "weeks", count)
    .option("--keep-monthly <n>", "months", count)
    .option("--keep-yearly <n>", "years", count)
    .option("--keep-within <span>", "everything so long before the newest, such as 30d", span)
    .option("--time-zone <name>", "whose days are meant, such as Europe/Paris (UTC)")
    .option("--dry-run", "only say what would go", false)
    .action(async (flags: PruneFlags) => await (await import("./prune.ts")).pruneVault(flags, enter()));
  accessOptions(vault.command("delete <point>"))
    .description("delete one point, by its id")
    .action(async (point: string, flags: AccessFlags) => await (await import("./prune.ts")).deletePoint(point, flags, enter()));
  accessOptions(vault.command("gc"))
    .description("free what no point needs; safe beside captures on any machine")
    .option("--dry-run", "only say what would be freed", false)
    .option("--max-rewrite <size>", "bytes of half-empty packs to rewrite in this run (4G)", byteCount)
    .option("--wait <span>", "how long to wait for captures that are under way", span)
    .action(async (flags: GcFlags) => await (await import("./gc.ts")).collectGarbage(flags, enter()));
  accessOptions(vault.command("copy [point...]"))
    .description("copy points, or all, to another vault, sending only what it lacks")
    .requiredOption("--to <location>", "the other vault")
    .option("--to-passphrase-file <path>", "its passphrase; the first vault's secret unless given")
    .option("--to-key-file <path>", "its key file")
    .addOption(compressionOption())
    .action(async (points: string[], flags: CopyFlags) => await (await import("./copy.ts")).copyVault(points, flags, enter()));
}

function addHolds(vault: Command, enter: Enter): void {
  const hold = vault.command("hold").description("points that must not be deleted");
  const holding = (command: Command): Command =>
    accessOptions(command)
      .requiredOption("--reason <text>", "who wants this, and why")
      .option("--until <date>", "when it ends", date)
      .option("--for <span>", "how long from now, such as 30d", span);
  holding(hold.command("add <point>"))
    .description("hold a point until it is released, or until a date")
    .action(async (point: string, flags: HoldFlags) => await (await import("./holds.ts")).addHold(point, flags, enter()));
  holding(hold.command("lock <point>"))
    .description("lock a point until a date: nobody releases it before, and the storage itself enforces it where it can")
    .action(async (point: string, flags: HoldFlags) => await (await import("./holds.ts")).lockPoint(point, flags, enter()));
  accessOptions(hold.command("release <point> [hold]"))
    .description("release one hold, or all of a point's that are no locks")
    .action(
      async (point: string, one: string | undefined, flags: AccessFlags) =>
        await (await import("./holds.ts")).releaseHold(point, one, flags, enter()),
    );
  accessOptions(hold.command("list [point]"))
    .description("list holds and locks")
    .action(async (point: string | undefined, flags: AccessFlags) => await (await import("./holds.ts")).listHolds(point, flags, enter()));
}

/** The verbs of `godwit vault`. Each loads its code when it runs: starting must cost little. */
export function addVaultCommands(program: Command, surroundings: Surroundings): void {
  const { env, out, err, signal } = surroundings;
  const enter: Enter = () => ({ env, out, err, signal, format: program.opts<{ output: Format }>().output });
  const vault = program.command("vault").description("a deduplicating, encrypted store of recovery points; needs no server");
  for (const add of [addInit, addPut, addLooking, addRestoring, addCare, addPruning, addHolds, addKeys]) add(vault, enter);
}
