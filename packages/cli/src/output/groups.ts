import type { Alert, MemberStatus, ProtectionGroup, UncoveredVm } from "@godwit/api";
import { type Column, renderFields, renderTable } from "./table.ts";
import { formatBytes } from "./units.ts";

export const groupColumns: readonly Column<ProtectionGroup>[] = [
  { title: "GROUP", value: ({ name }) => name },
  { title: "VAULT", value: ({ vault }) => vault },
  { title: "SCHEDULE", value: scheduleText },
  { title: "KEEPS", value: retentionText },
  { title: "VMS", value: ({ statuses }) => statuses.length, align: "right" },
  {
    title: "NOT OK",
    value: ({ statuses }) => statuses.filter(({ state }) => state === "late" || state === "failing").length,
    align: "right",
  },
];

const memberColumns: readonly Column<MemberStatus>[] = [
  { title: "VM", value: ({ vm }) => vm },
  { title: "STATE", value: ({ state }) => state },
  { title: "LAST POINT", value: ({ lastPointAt }) => lastPointAt },
  { title: "RUNS", value: ({ succeeded, ended }) => `${succeeded}/${ended}`, align: "right" },
  { title: "CHURN/DAY", value: ({ churnBytesPerDay }) => sized(churnBytesPerDay), align: "right" },
  { title: "GROWTH/DAY", value: ({ growthBytesPerDay }) => sized(growthBytesPerDay), align: "right" },
  {
    title: "FREEZE",
    value: ({ longestFreezeMs }) => (longestFreezeMs === undefined ? undefined : `${Math.round(longestFreezeMs)} ms`),
    align: "right",
  },
  { title: "CHECKED", value: checkedText },
  { title: "WHY", value: ({ reason }) => reason.text },
];

export const statusColumns: readonly Column<MemberStatus>[] = [{ title: "GROUP", value: ({ group }) => group }, ...memberColumns];

export const alertColumns: readonly Column<Alert>[] = [
  { title: "STATE", value: ({ resolvedAt }) => (resolvedAt === undefined ? "open" : "resolved") },
  { title: "SINCE", value: ({ raisedAt }) => raisedAt },
  { title: "GROUP", value: ({ group }) => group },
  { title: "VM", value: ({ vm }) => vm },
  { title: "WHAT", value: ({ text }) => text },
];

export const uncoveredColumns: readonly Column<UncoveredVm>[] = [
  { title: "VM", value: ({ name }) => name },
  { title: "HOST", value: ({ host }) => host },
];

function checkedText({ checkedAt, unexpectedBytes = 0 }: MemberStatus): string | undefined {
  if (checkedAt === undefined) return undefined;
  return `${checkedAt}${unexpectedBytes > 0 ? `, ${formatBytes(unexpectedBytes)} repaired` : ""}`;
}

function bandwidthText({ bandwidth = [] }: ProtectionGroup): string {
  if (bandwidth.length === 0) return "as fast as guests and hosts allow";
  return bandwidth
    .map(({ bytesPerSecond, hours }) => `${hours ? `${hoursText(hours)} ` : ""}${formatBytes(bytesPerSecond)}/s`)
    .join(", else ");
}

function hoursText({ from, to, days: on }: NonNullable<ProtectionGroup["schedule"]["windows"]>[number]): string {
  return `${on ? `${on.join(",")} ` : ""}${from}-${to}`;
}

function sized(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatBytes(bytes);
}

function scheduleText({ schedule, paused }: ProtectionGroup): string {
  const { cron, everyMinutes, windows = [], timeZone = "UTC" } = schedule;
  const when = everyMinutes !== undefined ? `every ${everyMinutes} min` : cron ? `${cron.join(" and ")} ${timeZone}` : "by hand";
  const within = windows.map(hoursText).join(", ");
  return `${paused ? "paused: " : ""}${when}${within === "" ? "" : ` within ${within}`}`;
}

function retentionText({ retention }: ProtectionGroup): string {
  const parts = Object.entries(retention).map(([kind, kept]) => (kind === "withinDays" ? `all of ${kept} days` : `${kept} ${kind}`));
  return parts.join(", ");
}

/** A group, and how its members stand. */
export function printGroup(group: ProtectionGroup): string {
  const { names = [], tags = [], hosts = [], pools = [], rest = false, except = [] } = group.members;
  const selects = [
    ...names,
    ...tags.map((tag) => `tag ${tag}`),
    ...hosts.map((host) => `all on ${host}`),
    ...pools.map((pool) => `all in pool ${pool}`),
    ...(rest ? ["all that no other group selects"] : []),
  ];
  const fields = renderFields([
    ["group", group.name],
    ["vault", group.vault],
    ["members", `${selects.join(", ")}${except.length > 0 ? `, but not ${except.join(", ")}` : ""}`],
    ["captures", group.paths ? `files of the guests: ${group.paths.join(", ")}` : "all disks"],
    ["schedule", scheduleText(group)],
    ["keeps", retentionText(group)],
    ["reads at most", bandwidthText(group)],
    ["consistency check", group.checks?.join(" and ") ?? "by hand"],
    ["SLA", group.slaHours === undefined ? "none" : `a point every ${group.slaHours} h`],
    ["when a VM must move", group.onMigration === "park" ? "its capture is parked and goes on there" : "the move waits for its capture"],
    ["at least", `${group.atLeast}-consistent`],
  ]);
  return group.statuses.length === 0 ? fields : `${fields}\n${renderTable(memberColumns, group.statuses)}`;
}
