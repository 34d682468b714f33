import { EngineError } from "../../model/errors.ts";
import { checkPaths } from "../files/service.ts";
import type { GroupLimits, MemberSelector, ProtectionGroup, Retention, RetryPolicy } from "./model.ts";
import { givenName } from "../names.ts";
import { type BandwidthRule, checkBandwidth, checkSchedule, type Schedule } from "./schedule.ts";

type ScheduleDraft = Omit<Schedule, "timeZone"> & { readonly timeZone?: string | undefined };

/** What an admin writes of a group; the vault by name or id. */
export interface GroupDraft {
  readonly name: string;
  readonly vault: string;
  readonly members: MemberSelector;
  /** UTC unless it names a time zone. */
  readonly schedule?: ScheduleDraft | undefined;
  readonly retention?: Retention | undefined;
  readonly limits?: GroupLimits | undefined;
  readonly bandwidth?: readonly BandwidthRule[] | undefined;
  readonly checks?: readonly string[] | undefined;
  readonly paths?: readonly string[] | undefined;
  readonly retry?: RetryPolicy | undefined;
  readonly slaHours?: number | undefined;
  readonly onMigration?: ProtectionGroup["onMigration"] | undefined;
  readonly atLeast?: ProtectionGroup["atLeast"] | undefined;
  readonly webhook?: string | undefined;
  readonly paused?: boolean | undefined;
}

/** Only what is given changes; `null` takes a setting away. */
export type GroupEdit = { readonly [Key in keyof GroupDraft]?: GroupDraft[Key] | null | undefined };

const defaults = {
  retention: { last: 7, daily: 14, weekly: 4 },
  limits: { perHost: 2 },
  retry: { times: 3, delayMinutes: 5 },
} as const;

/** Throws `invalid`. */
export function newGroup(
  draft: GroupDraft,
  { id, vaultId, createdAt }: Pick<ProtectionGroup, "id" | "vaultId" | "createdAt">,
): ProtectionGroup {
  return checked({
    id,
    name: draft.name,
    members: draft.members,
    vaultId,
    schedule: { ...draft.schedule, timeZone: draft.schedule?.timeZone ?? "UTC" },
    retention: draft.retention ?? defaults.retention,
    limits: draft.limits ?? defaults.limits,
    retry: draft.retry ?? defaults.retry,
    ...(draft.bandwidth !== undefined && { bandwidth: draft.bandwidth }),
    ...(draft.checks !== undefined && { checks: draft.checks }),
    ...(draft.paths !== undefined && { paths: draft.paths }),
    ...(draft.slaHours !== undefined && { slaHours: draft.slaHours }),
    ...(draft.webhook !== undefined && { webhook: draft.webhook }),
    onMigration: draft.onMigration ?? "park",
    atLeast: draft.atLeast ?? "crash",
    paused: draft.paused ?? false,
    createdAt,
  });
}

/** Throws `invalid`. */
export function applyEdit(group: ProtectionGroup, edit: GroupEdit, vaultId: string): ProtectionGroup {
  const { slaHours, webhook, bandwidth, checks, paths, ...rest } = group;
  const optional = { slaHours, webhook, bandwidth, checks, paths, ...given(edit) };
  return checked({
    ...rest,
    vaultId,
    name: edit.name ?? group.name,
    members: edit.members ?? group.members,
    schedule:
      edit.schedule === undefined ? group.schedule : { ...edit.schedule, timeZone: edit.schedule?.timeZone ?? group.schedule.timeZone },
    retention: edit.retention ?? group.retention,
    limits: edit.limits === undefined ? group.limits : (edit.limits ?? {}),
    retry: edit.retry ?? group.retry,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined && value !== null)),
    onMigration: edit.onMigration ?? group.onMigration,
    atLeast: edit.atLeast ?? group.atLeast,
    paused: edit.paused ?? group.paused,
  });
}

/** What an edit says of the settings that can be taken away. */
function given({ slaHours, webhook, bandwidth, checks, paths }: GroupEdit): Partial<GroupEdit> {
  return Object.fromEntries(Object.entries({ slaHours, webhook, bandwidth, checks, paths }).filter(([, value]) => value !== undefined));
}

function checked(group: ProtectionGroup): ProtectionGroup {
  const wrong = (text: string): EngineError => new EngineError("invalid", `protection group ${group.name}: ${text}`, { group: group.name });
  if (!givenName.test(group.name)) throw wrong("a name has up to 63 letters, digits, dots, hyphens and underscores");
  checkSchedule(group.schedule);
  checkSchedule({ cron: group.checks, timeZone: group.schedule.timeZone });
  checkBandwidth(group.bandwidth ?? []);
  if (group.paths) {
    checkPaths(group.paths);
    if (group.atLeast !== "crash" || group.checks)
      throw wrong("files are read one after the other: nothing but 'crash' can be asked of them, and no check");
  }
  const { names = [], tags = [], hosts = [], pools = [], rest = false } = group.members;
  if (names.length + tags.length + hosts.length + pools.length === 0 && !rest)
    throw wrong("it selects no VM: give names, tags, hosts or pools, or 'rest' for all that no other group selects");
  for (const [key, value] of Object.entries({ ...group.retention, ...group.limits, slaHours: group.slaHours }))
    if (value !== undefined && !(Number.isInteger(value) && value >= 1))
      throw wrong(`${key} is a whole number of at least 1, not ${value}`);
  if (Object.values(group.retention).every((count) => count === undefined))
    throw wrong("its retention keeps nothing: keep the last one at least");
  if (group.webhook !== undefined) checkWebhook(group.webhook, wrong);
  const { times, delayMinutes } = group.retry;
  if (!(Number.isInteger(times) && times >= 0 && times <= 20)) throw wrong(`it is tried again 0 to 20 times, not ${times}`);
  if (!(delayMinutes >= 1 && delayMinutes <= 1440)) throw wrong(`the wait before a try is 1 to 1440 minutes, not ${delayMinutes}`);
  return group;
}

function checkWebhook(webhook: string, wrong: (text: string) => EngineError): void {
  const url = URL.parse(webhook);
  if (!url || !/^https?:$/.test(url.protocol)) throw wrong(`'${webhook}' is no webhook: an http or https URL is needed`);
  // Requests to such a URL cannot be made: no alert would ever arrive.
  if (url.username !== "" || url.password !== "")
    throw wrong(`a webhook at ${url.host} cannot be told with a user name in its URL: give it a secret path instead`);
}
