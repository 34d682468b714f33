import { EngineError, refusal } from "../model/errors.ts";
import type { BackupTrafficSettings, HostMigrationSettings, LiveMigrationSettings, NetworkRecord, NetworkRole } from "../model/network.ts";
import { findNamed } from "./names.ts";

/** What an admin may change of a network. `autoMetric: false` keeps the automatic metric of now. */
export interface NetworkEdit {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly role?: NetworkRole | undefined;
  readonly metric?: number | undefined;
  readonly autoMetric?: boolean | undefined;
}

/** Networks by id or name. `maximumParallelMigrations: null` gives the decision back to the hosts. */
export interface LiveMigrationEdit {
  readonly order?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
  readonly maximumParallelMigrations?: number | null | undefined;
}

export type HostMigrationEdit = {
  readonly [Key in Exclude<keyof HostMigrationSettings, "networks">]?: HostMigrationSettings[Key] | undefined;
};

/** Networks by id or name. `tlsDirectory: null` gives TLS up. */
export type BackupTrafficEdit = {
  readonly [Key in Exclude<keyof BackupTrafficSettings, "tlsDirectory">]?: BackupTrafficSettings[Key] | undefined;
} & { readonly tlsDirectory?: string | null | undefined };

export const noLiveMigrationSettings: LiveMigrationSettings = { order: [], exclude: [] };
export const MAX_METRIC = 0x0fff_ffff;
const MAX_MIGRATIONS = 1000;

/** Which network to edit, and how. */
export interface NetworkRecordEdit {
  readonly id: string;
  /** For a network that nobody has seen yet: its record is made with this subnet. */
  readonly subnet?: string | undefined;
  readonly edit: NetworkEdit;
}

export interface NetworkEditContext {
  /** Every network that there is or was. */
  readonly records: readonly NetworkRecord[];
  /** The networks that there are, with their metrics of now. */
  readonly listed: readonly { readonly id: string; readonly metric: number }[];
}

/**
 * Makes all edits or none, and gives every record as it is then: two networks may swap their names. Throws
 * `not-found`, `invalid`, `conflict` for a name that is taken, `refused` when no network for internal traffic
 * would be left.
 */
export function editNetworkRecords(edits: readonly NetworkRecordEdit[], { records, listed }: NetworkEditContext): NetworkRecord[] {
  const after = new Map(records.map((record) => [record.id, record]));
  for (const { id, subnet, edit } of edits) {
    const record = after.get(id) ?? (subnet === undefined ? findNamed("network", id, records) : unseenRecord(id, subnet));
    after.set(id, edited(record, edit, listed.find((network) => network.id === id)?.metric));
  }
  for (const { id } of edits) checkNameIsFree(after.get(id)!, [...after.values()]);
  checkInternalLeft(records, [...after.values()], new Set(listed.map(({ id }) => id)));
  return [...after.values()];
}

function unseenRecord(id: string, subnet: string): NetworkRecord {
  return { id, name: `Network ${subnet}`, description: "", role: "cluster", subnets: [subnet] };
}

function edited(record: NetworkRecord, edit: NetworkEdit, metricOfNow: number | undefined): NetworkRecord {
  const name = edit.name?.trim() ?? record.name;
  if (name === "" || name.length > 80) throw new EngineError("invalid", "a network's name has 1 to 80 characters");
  const description = edit.description ?? record.description;
  if (description.length > 500) throw new EngineError("invalid", "a network's description has at most 500 characters");
  const { metric: _metric, ...rest } = record;
  const metric = newMetric(record, edit, metricOfNow);
  return { ...rest, name, description, role: edit.role ?? record.role, ...(metric === undefined ? {} : { metric }) };
}

function checkNameIsFree({ id, name }: NetworkRecord, all: readonly NetworkRecord[]): void {
  const other = all.find((each) => each.id !== id && (each.name.toLowerCase() === name.toLowerCase() || each.id === name));
  if (other)
    throw new EngineError("conflict", `the name "${name}" is taken by the network on ${other.subnets.join(", ")}`, { networkId: other.id });
}

function checkInternalLeft(before: readonly NetworkRecord[], after: readonly NetworkRecord[], listed: ReadonlySet<string>): void {
  const internal = (records: readonly NetworkRecord[]): NetworkRecord[] =>
    records.filter(({ id, role }) => listed.has(id) && role !== "none");
  if (internal(after).length > 0 || internal(before).length === 0) return;
  const names = internal(before).map(({ name }) => name);
  throw refusal(`the role of ${names.join(", ")} stays`, [
    {
      id: "last-internal-network",
      verdict: "fail",
      text: "no network would be left for internal traffic, so the last one cannot become none",
      remedy: "give another network the role cluster or cluster-and-client first",
    },
  ]);
}

function newMetric(record: NetworkRecord, edit: NetworkEdit, metricOfNow: number | undefined): number | undefined {
  if (edit.metric !== undefined) {
    if (edit.autoMetric === true) throw new EngineError("invalid", "give either a metric or autoMetric: true, not both");
    return checkInteger("metric", edit.metric, { from: 1, to: MAX_METRIC });
  }
  if (edit.autoMetric === true) return undefined;
  return edit.autoMetric === false ? (record.metric ?? metricOfNow) : record.metric;
}

/** Names become ids. Throws `not-found` or `ambiguous` with the names there are, `invalid` for one that is listed twice. */
export function editLiveMigration(
  settings: LiveMigrationSettings,
  edit: LiveMigrationEdit,
  networks: readonly NetworkRecord[],
): LiveMigrationSettings {
  const { maximumParallelMigrations: before, ...rest } = settings;
  const { maximumParallelMigrations: maximum } = edit;
  const limit = maximum === undefined ? before : (maximum ?? undefined);
  if (limit !== undefined) checkInteger("maximumParallelMigrations", limit, { from: 0, to: MAX_MIGRATIONS });
  return {
    order: edit.order ? resolveAll("order", edit.order, networks) : rest.order,
    exclude: edit.exclude ? resolveAll("exclude", edit.exclude, networks) : rest.exclude,
    ...(limit === undefined ? {} : { maximumParallelMigrations: limit }),
  };
}

/** Names become ids. Throws `not-found`, `ambiguous`, or `invalid` for a network that is listed twice and for ports that are none. */
export function editBackupTraffic(
  settings: BackupTrafficSettings,
  edit: BackupTrafficEdit,
  networks: readonly NetworkRecord[],
): BackupTrafficSettings {
  const { tlsDirectory: before, ...rest } = settings;
  const lists = (["order", "exclude", "unencrypted"] as const).map((key) => {
    const refs = edit[key];
    return [key, refs ? resolveAll(key, refs, networks) : rest[key]] as const;
  });
  const firstPort = checkInteger("firstPort", edit.firstPort ?? rest.firstPort, { from: 1024, to: 65_535 });
  const lastPort = checkInteger("lastPort", edit.lastPort ?? rest.lastPort, { from: firstPort, to: 65_535 });
  const tlsDirectory = edit.tlsDirectory === undefined ? before : (edit.tlsDirectory ?? undefined);
  const { order, exclude, unencrypted } = Object.fromEntries(lists) as Pick<BackupTrafficSettings, "order" | "exclude" | "unencrypted">;
  const otherwise = edit.otherwise ?? rest.otherwise;
  return { order, exclude, unencrypted, firstPort, lastPort, otherwise, ...(tlsDirectory !== undefined && { tlsDirectory }) };
}

function resolveAll(list: string, refs: readonly string[], networks: readonly NetworkRecord[]): string[] {
  const found = refs.map((ref) => findNamed("network", ref, networks));
  const twice = found.find((network, index) => found.indexOf(network) !== index);
  if (twice) throw new EngineError("invalid", `network "${twice.name}" is twice in ${list}`);
  return found.map(({ id }) => id);
}

/** How many live migrations a host may take part in at once: the cluster's number wins over the host's. */
export function liveMigrationLimit(live: LiveMigrationSettings, host: HostMigrationSettings): number {
  return live.maximumParallelMigrations ?? host.maximumLiveMigrations;
}

export function editHostMigration(settings: HostMigrationSettings, edit: HostMigrationEdit): HostMigrationSettings {
  const range = { from: 0, to: MAX_MIGRATIONS };
  return {
    useAnyNetwork: edit.useAnyNetwork ?? settings.useAnyNetwork,
    maximumLiveMigrations: checkInteger("maximumLiveMigrations", edit.maximumLiveMigrations ?? settings.maximumLiveMigrations, range),
    maximumStorageMigrations: checkInteger(
      "maximumStorageMigrations",
      edit.maximumStorageMigrations ?? settings.maximumStorageMigrations,
      range,
    ),
    networks: settings.networks,
  };
}

export function checkInteger(what: string, value: number, { from, to }: { readonly from: number; readonly to: number }): number {
  if (!Number.isInteger(value) || value < from || value > to)
    throw new EngineError("invalid", `${what} must be a whole number from ${from} to ${to}: ${value}`);
  return value;
}
