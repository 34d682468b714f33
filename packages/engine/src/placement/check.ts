import { allProfiles } from "./profiles/index.ts";
import type { PlacementSettings } from "./rules.ts";

/** Something in placement settings that means nothing. */
export interface PlacementProblem {
  readonly path: readonly (string | number)[];
  readonly text: string;
}

/** References that dangle, names that are there twice, rules that say nothing. */
export function placementProblems(
  settings: PlacementSettings,
  hosts: readonly { readonly id: string; readonly name: string }[],
): PlacementProblem[] {
  const problems: PlacementProblem[] = [];
  const known = new Set(hosts.flatMap(({ id, name }) => [id, name]));
  const profiles = new Set(allProfiles(settings.profiles).map(({ name }) => name));
  const checkHosts = (path: readonly (string | number)[], names: readonly string[] | undefined): void => {
    for (const [index, name] of (names ?? []).entries()) {
      if (!known.has(name)) problems.push({ path: [...path, index], text: `there is no host '${name}'` });
    }
  };
  for (const name of Object.keys(settings.sites)) {
    if (!known.has(name)) problems.push({ path: ["sites", name], text: `there is no host '${name}'` });
  }
  const seen = new Set<string>();
  for (const [index, rule] of settings.rules.entries()) {
    const path = ["rules", index];
    if (seen.has(rule.name)) problems.push({ path: [...path, "name"], text: `a rule '${rule.name}' is there already` });
    seen.add(rule.name);
    if (!rule.vms.names && !rule.vms.tags && !rule.vms.where) {
      problems.push({ path: [...path, "vms"], text: "selects no VM: give names, tags or where (names: ['*'] for all)" });
    }
    checkHosts([...path, "possibleHosts"], rule.possibleHosts);
    checkHosts([...path, "preferredHosts"], rule.preferredHosts);
    if (rule.profile !== undefined && !profiles.has(rule.profile)) {
      problems.push({ path: [...path, "profile"], text: `there is no profile '${rule.profile}'; there are ${[...profiles].join(", ")}` });
    }
  }
  const own = settings.profiles.map(({ name }) => name);
  for (const [index, name] of own.entries()) {
    if (own.indexOf(name) < index) problems.push({ path: ["profiles", index, "name"], text: `a profile '${name}' is there already` });
  }
  return problems;
}
