import { canonicalJson } from "@godwit/core";
import { placementProblems } from "../placement/check.ts";
import type { PlacementSettings } from "../placement/rules.ts";
import type { PlacementSection } from "../placement/schema.ts";
import type { Draft } from "./draft.ts";

interface Context {
  readonly before: PlacementSettings;
  /** The hosts that there will be. */
  readonly hosts: readonly { readonly id: string; readonly name: string }[];
}

/** The whole settings as they will be; undefined when nothing differs. */
export function planPlacement(wanted: PlacementSection, { before, hosts }: Context, draft: Draft): PlacementSettings | undefined {
  const balance = wanted.balance === undefined ? before.balance : (wanted.balance ?? undefined);
  const after: PlacementSettings = {
    sites: wanted.sites ?? before.sites,
    tags: wanted.tags ?? before.tags,
    rules: wanted.rules ?? before.rules,
    profiles: wanted.profiles ?? before.profiles,
    ...(balance && { balance }),
  };
  for (const { path, text } of placementProblems(after, hosts)) draft.problem(["placement", ...path], text);
  const changed = draft.changes.length;
  if (wanted.rules) diffNamed("rules", "rule", before.rules, after.rules, draft);
  if (wanted.profiles) diffNamed("profiles", "workload profile", before.profiles, after.profiles, draft);
  if (wanted.sites) diffWhole("sites", before.sites, after.sites, draft);
  if (wanted.tags) diffWhole("tags", before.tags, after.tags, draft);
  if (wanted.balance !== undefined) diffWhole("balance", before.balance ?? null, balance ?? null, draft);
  return draft.changes.length > changed ? after : undefined;
}

function diffNamed<T extends { readonly name: string }>(
  key: "rules" | "profiles",
  what: string,
  before: readonly T[],
  after: readonly T[],
  draft: Draft,
): void {
  for (const [index, one] of after.entries()) {
    const old = before.find(({ name }) => name === one.name);
    const path = ["placement", key, index];
    if (!old) draft.change("add", path, `${what} ${one.name}`, { after: one });
    else if (canonicalJson(old) !== canonicalJson(one)) draft.change("change", path, `${what} ${one.name}`, { before: old, after: one });
  }
  for (const one of before) {
    if (!after.some(({ name }) => name === one.name)) draft.change("remove", ["placement", key], `${what} ${one.name}`, { before: one });
  }
}

function diffWhole(key: "sites" | "tags" | "balance", before: unknown, after: unknown, draft: Draft): void {
  if (canonicalJson(before) !== canonicalJson(after)) draft.change("change", ["placement", key], `placement ${key}`, { before, after });
}
