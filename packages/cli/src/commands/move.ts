import type { Forecast, MigrationPlan, MigrationRequest } from "@godwit/api";
import { type Command, InvalidArgumentError, Option } from "commander";
import { print } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { finishJob } from "../jobs.ts";
import { renderTable } from "../output/table.ts";
import { formatDuration } from "../output/units.ts";
import { byteRate, integer, type JobFlags, jobOptions, type WithContext } from "./command.ts";
import { verdictColumns } from "./migration.ts";

/** A plan as people read it: the networks in order, then every check that did not simply pass. */
export function planTable(plan: MigrationPlan): string {
  const notable = plan.checks.filter((check) => check.verdict === "fail" || check.verdict === "warn");
  const checks = notable.map(
    (check) => `${check.verdict.toUpperCase()} ${check.id}: ${check.text}\n${check.remedy === undefined ? "" : `     → ${check.remedy}\n`}`,
  );
  const passed = plan.checks.filter((check) => check.verdict === "pass").length;
  const copies = renderTable(
    [
      { title: "DISK", value: (copy) => copy.target },
      { title: "FROM", value: (copy) => copy.from },
      { title: "TO POOL", value: (copy) => copy.pool },
    ],
    plan.copies,
  );
  return [
    `${plan.vm}: ${plan.source} → ${plan.destination} (${plan.kind}): ${plan.possible ? "possible" : "refused"}\n\n`,
    renderTable(verdictColumns, plan.networks),
    plan.copies.length > 0 ? `\n${copies}` : "",
    plan.forecast ? `\n${forecastText(plan.forecast)}` : "",
    plan.transport ? `transport:\n${plan.transport.reasons.map(({ text }) => `  ${text}\n`).join("")}` : "",
    `\n${passed} checks passed\n`,
    ...checks,
  ].join("");
}

function forecastText({ text, reasons, options }: Forecast): string {
  return [
    `forecast: ${text}\n`,
    ...reasons.map((reason) => `  ${reason}\n`),
    ...options.map((option) => `  instead, in ${formatDuration(option.totalMs)}: ${option.text}\n`),
  ].join("");
}

/** `POOL` for every disk, or `DISK=POOL` for one; may be repeated. */
export interface StorageFlag {
  readonly pool?: string;
  readonly byDisk: Readonly<Record<string, string>>;
}

export function storageFlag(text: string, before: StorageFlag = { byDisk: {} }): StorageFlag {
  const at = text.indexOf("=");
  if (at < 0) {
    if (before.pool !== undefined) throw new InvalidArgumentError("one pool for all disks can be named; use DISK=POOL for others.");
    return { ...before, pool: text };
  }
  return { ...before, byDisk: { ...before.byDisk, ...pair(text, "DISK=POOL") } };
}

export function nameMap(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  return { ...before, ...pair(text, "OLD=NEW") };
}

function pair(text: string, form: string): Record<string, string> {
  const [name = "", value = "", ...more] = text.split("=");
  if (name === "" || value === "" || more.length > 0) throw new InvalidArgumentError(`${form} is needed.`);
  return { [name]: value };
}

interface MigrateFlags extends JobFlags {
  readonly to?: string;
  readonly kind?: "live" | "quick" | "cold";
  readonly storage?: StorageFlag;
  readonly network?: Readonly<Record<string, string>>;
  readonly p2p: boolean;
  readonly bandwidth?: number;
  readonly autoConverge: boolean;
  readonly maxPause?: number;
  readonly policy?: MigrationRequest["policy"];
  readonly parallel?: number;
  readonly compression?: MigrationRequest["compression"];
  readonly tls: boolean;
  readonly zeroCopy: boolean;
  readonly carryFiles: boolean;
  readonly waitForCapture?: boolean;
  readonly dryRun: boolean;
}

function requestOf(flags: MigrateFlags): MigrationRequest {
  const {
    to,
    kind,
    storage,
    network,
    p2p,
    autoConverge,
    tls,
    zeroCopy,
    carryFiles,
    dryRun,
    bandwidth,
    maxPause,
    policy,
    parallel,
    compression,
  } = flags;
  return {
    ...(to !== undefined && { to }),
    peerToPeer: p2p,
    autoConverge,
    dryRun,
    tls,
    zeroCopy,
    carryFiles,
    ...(flags.waitForCapture && { waitForCapture: true }),
    ...(policy !== undefined && { policy }),
    ...(parallel !== undefined && { parallelConnections: parallel }),
    ...(compression !== undefined && { compression }),
    ...(kind !== undefined && { kind }),
    ...(storage?.pool !== undefined && { storagePool: storage.pool }),
    ...(storage !== undefined && Object.keys(storage.byDisk).length > 0 && { storageByDisk: storage.byDisk }),
    ...(network !== undefined && { networkMap: network }),
    ...(bandwidth !== undefined && { bandwidthBytesPerSecond: bandwidth }),
    ...(maxPause !== undefined && { maximumPauseMs: maxPause }),
  };
}

export function addMigrate(vm: Command, withContext: WithContext): void {
  const migrate = vm
    .command("migrate <vm>")
    .description("move a VM to another host, while it runs unless it is off or said otherwise")
    .option("--to <host>", "destination host; without it, the rules of the site choose one")
    .addOption(
      new Option("--kind <kind>", "live: it runs on; quick: its memory is saved and moved; cold: it is off").choices([
        "live",
        "quick",
        "cold",
      ]),
    )
    .option(
      "--storage <[disk=]pool>",
      "copy its disks as well, into this pool of the destination; DISK=POOL for one, repeatable",
      storageFlag,
    )
    .option("--network <old=new>", "plug its network cards into another bridge or network there; repeatable", nameMap)
    .option("--p2p", "let the source host drive it: the hosts must trust each other, and it goes on without the server", false)
    .option("--bandwidth <rate>", "at most this many bytes a second, such as 100M", byteRate)
    .option("--auto-converge", "slow the guest's CPUs when memory changes faster than it can be sent", false)
    .option("--max-pause <ms>", "pause that is promised, in milliseconds (300)", integer)
    .addOption(
      new Option("--policy <policy>", "when memory changes too fast for that: give up, slow the guest, go on there, or pause it").choices([
        "strict",
        "auto-converge",
        "post-copy",
        "suspend-at-last",
      ]),
    )
    .option("--parallel <n>", "send memory by so many streams; without it, chosen by the link", integer)
    .addOption(
      new Option("--compression <method>", "let the hypervisor compress memory; without it, chosen by how fast it changes").choices([
        "none",
        "xbzrle",
        "mt",
        "zlib",
        "zstd",
      ]),
    )
    .option("--tls", "encrypt what goes from host to host; both need certificates for it", false)
    .option("--carry-files", "quick and cold: files go from host to host, not through the server (see the guide before)", false)
    .option("--zero-copy", "send memory without copying it first: needs --parallel, and hosts that let guests lock memory", false)
    .option("--wait-for-capture", "let a capture of it that runs end first, instead of parking it")
    .option("--dry-run", "only check and say what would be done", false);
  jobOptions(migrate).action((name: string, flags: MigrateFlags) =>
    withContext(async (context) => {
      const body = requestOf(flags);
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

interface MoveStorageFlags extends JobFlags {
  readonly to: string;
  readonly format?: "qcow2" | "raw";
  readonly bandwidth?: number;
}

/** `web:vda,vdb` names two disks of web. */
export function diskReference(text: string): { readonly vm: string; readonly disks: readonly string[] } {
  const at = text.lastIndexOf(":");
  if (at < 0) return { vm: text, disks: [] };
  return {
    vm: text.slice(0, at),
    disks: text
      .slice(at + 1)
      .split(",")
      .filter((disk) => disk !== ""),
  };
}

export function addMoveStorage(vm: Command, withContext: WithContext): void {
  const move = vm
    .command("move-storage <vm[:disk]>")
    .description("move disks to another storage pool of their host, also while the VM runs")
    .requiredOption("--to <pool>", "the storage pool")
    .addOption(new Option("--format <format>", "what the images become; each keeps its format without it").choices(["qcow2", "raw"]))
    .option("--bandwidth <rate>", "at most this many bytes a second, such as 100M", byteRate);
  jobOptions(move).action((reference: string, flags: MoveStorageFlags) =>
    withContext(async (context) => {
      const { vm: name, disks } = diskReference(reference);
      const body = {
        to: flags.to,
        ...(disks.length > 0 && { disks: [...disks] }),
        ...(flags.format !== undefined && { format: flags.format }),
        ...(flags.bandwidth !== undefined && { bandwidthBytesPerSecond: flags.bandwidth }),
      };
      const { idempotencyKey } = flags;
      const job = await context.client.call("vmMoveStorage", { params: { vm: name }, body, idempotencyKey, signal: context.signal });
      await finishJob(context, job, flags);
    }),
  );
}
