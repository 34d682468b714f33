import type { GroupDraft, GroupEdit, ProtectionGroup, StoragePlan } from "@godwit/api";
import { type Command, InvalidArgumentError } from "commander";
import { print, printList } from "../context.ts";
import { alertColumns, groupColumns, printGroup, statusColumns, uncoveredColumns } from "../output/groups.ts";
import { renderFields } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import { type AddCommands, byteRate, integer, nameList, several, type WithContext } from "./command.ts";

interface GroupFlags {
  readonly vault?: string;
  readonly vm?: string[];
  readonly tag?: string[];
  readonly host?: string[];
  readonly pool?: string[];
  readonly rest?: boolean;
  readonly except?: string[];
  readonly every?: number;
  readonly cron?: string[];
  readonly timeZone?: string;
  readonly window?: (ReturnType<typeof runWindow> | "none")[];
  readonly keep?: ReturnType<typeof retention>;
  readonly perHost?: number;
  readonly perPool?: number;
  readonly perVault?: number;
  readonly bandwidth?: (ReturnType<typeof bandwidthRule> | "none")[];
  readonly check?: string[];
  readonly path?: string[];
  readonly retries?: number;
  readonly retryMinutes?: number;
  readonly sla?: number | "none";
  readonly onMigration?: "park" | "finish";
  readonly atLeast?: "crash" | "filesystem" | "application";
  readonly webhook?: string;
  readonly rename?: string;
}

const kinds = ["last", "hourly", "daily", "weekly", "monthly", "yearly", "days"] as const;

/** `last=7,daily=14,weekly=4,days=2`. */
function retention(text: string): Record<string, number> {
  const entries = nameList(text).map((part): [string, number] => {
    const [kind = "", number = ""] = part.split("=");
    if (!kinds.some((known) => known === kind)) throw new InvalidArgumentError(`'${kind}' is none of ${kinds.join(", ")}.`);
    return [kind === "days" ? "withinDays" : kind, integer(number)];
  });
  return Object.fromEntries(entries);
}

const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** `22:00-06:00` or `mon,fri 22:00-06:00`. */
function runWindow(text: string): { days?: (typeof days)[number][]; from: string; to: string } {
  const match = /^(?:([a-z,]+)\s+)?(\d{1,2}:\d{2})-(\d{1,2}:\d{2})$/.exec(text.trim());
  if (!match) throw new InvalidArgumentError("a window such as '22:00-06:00' or 'sat,sun 08:00-20:00' is needed.");
  const named = nameList(match[1] ?? "");
  const unknown = named.find((name) => !days.some((day) => day === name));
  if (unknown !== undefined) throw new InvalidArgumentError(`'${unknown}' is none of ${days.join(", ")}.`);
  const chosen = days.filter((day) => named.includes(day));
  return { ...(match[1] !== undefined && { days: chosen }), from: match[2] ?? "", to: match[3] ?? "" };
}

function windowOrNone(text: string): ReturnType<typeof runWindow> | "none" {
  return text === "none" ? text : runWindow(text);
}

/** `20M`, `08:00-18:00 20M`, `mon,tue 08:00-18:00 20M`, or `none`. */
function bandwidthRule(text: string): { bytesPerSecond: number; hours?: ReturnType<typeof runWindow> } | "none" {
  if (text === "none") return text;
  const [, hours, rate = ""] = /^(?:(.*\S)\s+)?(\S+)$/.exec(text.trim()) ?? [];
  return { bytesPerSecond: byteRate(rate), ...(hours !== undefined && { hours: runWindow(hours) }) };
}

function groupOptions(command: Command): Command {
  return command
    .option("--vm <names>", "VMs by name or id, with * and ?", nameList)
    .option("--tag <tags>", "VMs by tag", nameList)
    .option("--host <hosts>", "every VM of these hosts", nameList)
    .option("--pool <pools>", "every VM with a disk in these storage pools", nameList)
    .option("--rest", "every VM that no other group selects")
    .option("--no-rest", "not those any more")
    .option("--except <names>", "never these", nameList)
    .option("--every <minutes>", "a point every so many minutes", integer)
    .option("--cron <line>", "when, as in crontab(5); may be repeated; 'none': by hand only", several(String))
    .option("--time-zone <name>", "of cron and windows, such as Europe/Vienna")
    .option("--window <hours>", "only then, such as '22:00-06:00'; may be repeated; 'none'", several(windowOrNone))
    .option("--keep <counts>", "last=7,hourly=…,daily=14,weekly=4,monthly=…,yearly=…,days=2", retention)
    .option("--per-host <n>", "captures of one host at once", integer)
    .option("--per-pool <n>", "captures of one storage pool at once", integer)
    .option("--per-vault <n>", "captures into the vault at once", integer)
    .option(
      "--bandwidth <limit>",
      "all captures together, such as '20M' or 'mon,tue 08:00-18:00 20M'; may be repeated; 'none'",
      several(bandwidthRule),
    )
    .option(
      "--check <line>",
      "the first capture after it is a consistency check, as in crontab(5); may be repeated; 'none'",
      several(String),
    )
    .option(
      "--path <path>",
      "capture these files of the guests, through their agents, instead of disks; may be repeated; 'none'",
      several(String),
    )
    .option("--retries <n>", "tries after a failure", integer)
    .option("--retry-minutes <n>", "wait before the first of them; doubled for each more", integer)
    .option("--sla <hours>", "alert without a point for so long; 'none'", (text) => (text === "none" ? "none" : integer(text)))
    .option("--webhook <url>", "where alerts are posted to as JSON; 'none'")
    .option("--on-migration <what>", "park (default) or finish")
    .option("--at-least <level>", "crash (default), filesystem or application: a lesser point is a failure");
}

/** `null` takes the setting away. */
function orNone<T>(given: readonly (T | "none")[]): T[] | null {
  return given.includes("none") ? null : given.filter((one): one is T => one !== "none");
}

/** A setting with what is given of it; nothing when nothing is. */
function changed<Key extends string, T extends object>(key: Key, before: T | undefined, given: T): { readonly [K in Key]?: T } {
  const known = Object.entries(given).filter(([, value]) => value !== undefined);
  return (known.length === 0 ? {} : { [key]: { ...before, ...Object.fromEntries(known) } }) as { readonly [K in Key]?: T };
}

/** A group is captured by cron lines or every so many minutes: one takes the other's place. */
function scheduleOf({ every, cron, timeZone, window }: GroupFlags, before?: ProtectionGroup): Pick<GroupEdit, "schedule"> {
  if ([every, cron, timeZone, window].every((given) => given === undefined)) return {};
  const { windows, timeZone: zone, ...when } = before?.schedule ?? {};
  const timed = every === undefined && cron === undefined ? when : { everyMinutes: every, cron: cron && (orNone(cron) ?? undefined) };
  const within = window ? (orNone(window) ?? undefined) : windows;
  return { schedule: { ...timed, timeZone: timeZone ?? zone, windows: within } };
}

/** `before`: the group as it is; what is not given stays, also inside of a setting that is sent as a whole. */
function settingsOf(flags: GroupFlags, before?: ProtectionGroup): GroupEdit {
  const { vm, tag, host, pool, rest, except, perHost, perPool, perVault, retries, retryMinutes } = flags;
  const { times, delayMinutes } = before?.retry ?? { times: 3, delayMinutes: 5 };
  return {
    ...(flags.vault !== undefined && { vault: flags.vault }),
    ...changed("members", before?.members, { names: vm, tags: tag, hosts: host, pools: pool, rest, except }),
    ...scheduleOf(flags, before),
    ...(flags.keep && { retention: flags.keep }),
    ...changed("limits", before?.limits, { perHost, perPool, perVault }),
    ...((retries ?? retryMinutes) !== undefined && { retry: { times: retries ?? times, delayMinutes: retryMinutes ?? delayMinutes } }),
    ...(flags.bandwidth && { bandwidth: orNone(flags.bandwidth) }),
    ...(flags.path && { paths: orNone(flags.path) }),
    ...(flags.check && { checks: orNone(flags.check) }),
    ...(flags.sla !== undefined && { slaHours: flags.sla === "none" ? null : flags.sla }),
    ...(flags.webhook !== undefined && { webhook: flags.webhook === "none" ? null : flags.webhook }),
    ...(flags.onMigration && { onMigration: flags.onMigration }),
    ...(flags.atLeast && { atLeast: flags.atLeast }),
  };
}

function addGroup(program: Command, withContext: WithContext): void {
  const group = program.command("group").description("protection groups: VMs that share schedule, retention and vault");
  group
    .command("list")
    .description("list protection groups")
    .action(() =>
      withContext(async (context) => {
        const groups = await Array.fromAsync(context.client.all("groupList", { signal: context.signal }));
        printList(context, groups, groupColumns, "no protection group yet: 'godwit group create' makes one");
      }),
    );
  group
    .command("show <group>")
    .description("show a group, its members and how they stand")
    .action((name: string) =>
      withContext(async (context) =>
        print(context, await context.client.call("groupGet", { params: { group: name }, signal: context.signal }), printGroup),
      ),
    );
  groupOptions(
    group.command("create <name>").description("create a group; with a schedule, its members are captured at once and then by it"),
  )
    .requiredOption("--vault <vault>", "a registered vault")
    .action((name: string, flags: GroupFlags) =>
      withContext(async (context) => {
        // What a new group does not have cannot be taken away: `none` says nothing here.
        const settings = Object.fromEntries(Object.entries(settingsOf(flags)).filter(([, value]) => value !== null));
        const body: GroupDraft = { members: {}, ...settings, name, vault: flags.vault ?? "" };
        print(context, await context.client.call("groupCreate", { body, signal: context.signal }), printGroup);
      }),
    );
  groupOptions(group.command("edit <group>").description("change a group; what is not given stays"))
    .option("--vault <vault>", "another registered vault")
    .option("--rename <name>", "another name")
    .action((name: string, flags: GroupFlags) =>
      edit(withContext, name, (before) => ({ ...settingsOf(flags, before), ...(flags.rename !== undefined && { name: flags.rename }) })),
    );
  for (const [verb, paused, description] of [
    ["pause", true, "start nothing by itself any more"],
    ["resume", false, "go on; what was missed is made up once"],
  ] as const)
    group
      .command(`${verb} <group>`)
      .description(description)
      .action((name: string) => edit(withContext, name, () => ({ paused })));
  group
    .command("remove <group>")
    .description("end a group's protection; its points stay in the vault")
    .action((name: string) => withContext(({ client, signal }) => client.call("groupRemove", { params: { group: name }, signal })));
}

async function edit(withContext: WithContext, group: string, change: (before: ProtectionGroup) => GroupEdit): Promise<void> {
  await withContext(async (context) => {
    const before = await context.client.call("groupGet", { params: { group }, signal: context.signal });
    const body = change(before);
    print(context, await context.client.call("groupEdit", { params: { group: before.id }, body, signal: context.signal }), printGroup);
  });
}

interface PlanFlags {
  readonly group?: string;
  readonly vm?: PlannedVm[];
  readonly keep?: ReturnType<typeof retention>;
  readonly pointsPerDay?: number;
  readonly speed?: number;
  readonly days?: number;
  readonly growth?: number;
}

interface PlannedVm {
  readonly name: string;
  readonly usedBytes: number;
  readonly churnBytesPerDay: number;
}

/** `NAME=SIZE,CHURN`, such as `db=200G,4G`. */
function plannedVm(text: string): PlannedVm {
  const match = /^([^=]+)=([^,]+),([^,]+)$/.exec(text);
  if (!match) throw new InvalidArgumentError("a VM such as db=200G,4G (name, used bytes, change a day) is needed.");
  return { name: match[1] ?? "", usedBytes: byteRate(match[2] ?? ""), churnBytesPerDay: byteRate(match[3] ?? "") };
}

function planText(plan: StoragePlan): string {
  const fields = renderFields([
    ...plan.vault.map(({ day, bytes }): [string, string] => [`vault after ${day} day${day === 1 ? "" : "s"}`, formatBytes(bytes)]),
    ["scratch beside the guests", formatBytes(plan.scratchBytes)],
    ["first captures", duration(plan.firstWindowSeconds)],
    ["captures of one moment", duration(plan.windowSeconds)],
    ["DPM's rule", `${formatBytes(plan.dpm.replicaBytes)} replica + ${formatBytes(plan.dpm.recoveryPointBytes)} recovery points`],
  ]);
  return `${fields}\n- DPM's rule: ${plan.dpm.rule}\n${plan.assumptions.map((text) => `- ${text}\n`).join("")}`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function addPlan(program: Command, withContext: WithContext): void {
  program
    .command("plan")
    .description("what will be needed")
    .command("storage")
    .description("the size of a vault over time, from a group's measured runs or from given figures")
    .option("--group <group>", "its members, schedule and retention, as measured")
    .option("--vm <name=size,churn>", "a planned VM, such as db=200G,4G: used bytes and change a day; may be repeated", several(plannedVm))
    .option("--keep <counts>", "such as last=7,daily=14", retention)
    .option("--points-per-day <n>", "1 unless the group says", Number)
    .option("--speed <rate>", "of captures, per second", byteRate)
    .option("--days <n>", "how far ahead", integer)
    .option("--growth <factor>", "of the VMs in a year: 0.2 is a fifth", Number)
    .action((flags: PlanFlags) =>
      withContext(async (context) => {
        const body = {
          ...(flags.vm && { vms: flags.vm }),
          ...(flags.group !== undefined && { group: flags.group }),
          ...(flags.keep && { retention: flags.keep }),
          ...(flags.pointsPerDay !== undefined && { pointsPerDay: flags.pointsPerDay }),
          ...(flags.speed !== undefined && { bytesPerSecond: flags.speed }),
          ...(flags.days !== undefined && { days: flags.days }),
          ...(flags.growth !== undefined && { growthPerYear: flags.growth }),
        };
        print(context, await context.client.call("storagePlan", { body, signal: context.signal }), planText);
      }),
    );
}

export const addGroupCommands: AddCommands = (program, withContext) => {
  addGroup(program, withContext);
  addPlan(program, withContext);
  const report = program.command("protection").description("how protection stands");
  report
    .command("status")
    .description("every member of every group: state, last point, churn, growth")
    .action(() =>
      withContext(async (context) => {
        const statuses = await Array.fromAsync(context.client.all("protectionStatus", { signal: context.signal }));
        printList(context, statuses, statusColumns, "no group has a member");
      }),
    );
  report
    .command("alerts")
    .description("what needs an admin: open alerts, and those of the last month")
    .option("--open", "only open ones")
    .action((flags: { open?: boolean }) =>
      withContext(async (context) => {
        const query = flags.open === true ? { open: "true" } : {};
        const alerts = await Array.fromAsync(context.client.all("alertList", { query, signal: context.signal }));
        printList(context, alerts, alertColumns, "no alert");
      }),
    );
  report
    .command("missing")
    .description("VMs that no group protects")
    .action(() =>
      withContext(async (context) => {
        const vms = await Array.fromAsync(context.client.all("unprotectedVmList", { signal: context.signal }));
        printList(context, vms, uncoveredColumns, "every VM is in a group");
      }),
    );
};
