import type { LiveMigrationEdit } from "../network/settings.ts";
import type { Draft } from "./draft.ts";
import { findPlanned, type NetworksPlan } from "./plan-networks.ts";
import { didYouMean } from "./problems.ts";
import type { ClusterFile } from "./schema.ts";
import type { ClusterState } from "./state.ts";

interface Context {
  readonly state: ClusterState;
  readonly networks: NetworksPlan;
}

/** Undefined when nothing differs. */
export function planLiveMigration(
  wanted: NonNullable<ClusterFile["liveMigration"]>,
  context: Context,
  draft: Draft,
): LiveMigrationEdit | undefined {
  const edit: { -readonly [Key in keyof LiveMigrationEdit]: LiveMigrationEdit[Key] } = {};
  for (const key of ["order", "exclude"] as const) {
    const refs = wanted[key];
    const ids = refs && resolveNetworks(["liveMigration", key], refs, context.networks, draft);
    if (!ids || ids.join() === context.state.live[key].join()) continue;
    edit[key] = ids;
    draft.change("change", ["liveMigration", key], "live migration", {
      before: namesOf(context.state.live[key], context.networks),
      after: namesOf(ids, context.networks),
    });
  }
  const limit = wanted.maximumParallelMigrations;
  const before = context.state.live.maximumParallelMigrations ?? "host";
  if (limit !== undefined && limit !== before) {
    edit.maximumParallelMigrations = limit === "host" ? null : limit;
    draft.change("change", ["liveMigration", "maximumParallelMigrations"], "live migration", { before, after: limit });
  }
  return Object.keys(edit).length > 0 ? edit : undefined;
}

/** Ids of networks as they will be. */
export function resolveNetworks(at: readonly string[], refs: readonly string[], networks: NetworksPlan, draft: Draft): string[] {
  const ids: string[] = [];
  for (const [index, ref] of refs.entries()) {
    const path = [...at, index];
    const found = findPlanned(ref, networks);
    const names = networks.after.map(({ name }) => name);
    if (!found) draft.problem(path, `there is no network '${ref}'${didYouMean(ref, names)}; there are ${names.join(", ") || "none yet"}`);
    else if (ids.includes(found.id)) draft.problem(path, `network '${found.name}' is in the list twice`);
    else ids.push(found.id);
  }
  return ids;
}

export function namesOf(ids: readonly string[], networks: NetworksPlan): string[] {
  return ids.map((id) => networks.after.find((record) => record.id === id)?.name ?? id);
}
