import { EngineError, refusal } from "../model/errors.ts";
import type { HostMigrationSettings, LiveMigrationSettings, NetworkRecord, NetworkRole } from "../model/network.ts";
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

export const noLiveMigrationSettings: LiveMigrationSettings = { order: [], exclude: [] };
export const MAX_METRIC = 0x0fff_ffff;
const MAX_MIGRATIONS = 1000;

export interface NetworkEditContext {
  /** Every network that there is or was. */
  readonly records: readonly NetworkRecord[];
  /** Ids of the networks that there are. */
  readonly listed: ReadonlySet<string>;
  /** The metric of now. */
  readonly metric: number;
}

/** Throws `invalid`, `conflict` for a name that is taken, `refused` when no network for internal traffic would be left. */
export function editNetworkRecord(record: NetworkRecord, edit: NetworkEdit, context: NetworkEditContext): NetworkRecord {
  const name = edit.name?.trim() ?? record.name;
  checkName(name, record, context.records);
  if (edit.description !== undefined && edit.description.length > 500)
    throw new EngineError("invalid", "a description has at most 500 characters");
  if (edit.role === "none" && record.role !== "none") checkNotLast(record, context);
  const { metric: _metric, ...rest } = record;
  const metric = newMetric(record, edit, context.metric);
  return {
    ...rest,
    name,
    description: edit.description ?? record.description,
    role: edit.role ?? record.role,
    ...(metric === undefined ? {} : { metric }),
  };
}

function checkName(name: string, record: NetworkRecord, records: readonly NetworkRecord[]): void {
  if (name === "" || name.length > 80) throw new EngineError("invalid", "a network's name has 1 to 80 characters");
  const other = records.find((each) => each.id !== record.id && (each.name.toLowerCase() === name.toLowerCase() || each.id === name));
  if (other)
    throw new EngineError("conflict", `the name "${name}" is taken by the network on ${other.subnets.join(", ")}`, { networkId: other.id });
}

function checkNotLast(record: NetworkRecord, { records, listed }: NetworkEditContext): void {
  const others = records.filter(({ id, role }) => id !== record.id && listed.has(id) && role !== "none");
  if (others.length > 0) return;
  throw refusal(`network ${record.name} keeps its role`, [
    {
      id: "last-internal-network",
      verdict: "fail",
      text: "it is the only network left for internal traffic, so its role cannot become none",
      remedy: "give another network the role cluster or cluster-and-client first",
    },
  ]);
}

function newMetric(record: NetworkRecord, edit: NetworkEdit, metricOfNow: number): number | undefined {
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
