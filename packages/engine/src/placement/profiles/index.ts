import type { WorkloadProfile } from "../rules.ts";
import { domainController } from "./domain-controller.ts";
import { exchangeDagMember } from "./exchange-dag-member.ts";
import { sqlServer } from "./sql-server.ts";

export const builtInProfiles: readonly WorkloadProfile[] = [domainController, exchangeDagMember, sqlServer];

/** Built-in ones and the site's own, which win. */
export function allProfiles(own: readonly WorkloadProfile[]): WorkloadProfile[] {
  const names = new Set(own.map(({ name }) => name));
  return [...own, ...builtInProfiles.filter(({ name }) => !names.has(name))];
}
