import { EngineError } from "../model/errors.ts";
import type { HostMigrationNetwork, HostMigrationSettings } from "../model/network.ts";
import { compareSubnetTexts, formatSubnet, parseAddress, parseSubnet, subnetOf } from "./ip.ts";
import { checkInteger } from "./settings.ts";

const MAX_PRIORITY = 0xffff_ffff;
const MAX_ENTRIES = 256;
const migrationNetwork = "migration network";

export interface MigrationSubnetEdit {
  /** Which entries: a subnet, or a pattern with `*` and `?`. */
  readonly subnet: string;
  readonly newSubnet?: string | undefined;
  readonly newPriority?: number | undefined;
}

/** The canonical text of a CIDR or single address. Throws `invalid`, saying what was probably meant. */
export function canonicalSubnet(text: string): string {
  const subnet = parseSubnet(text.trim());
  if (subnet) return formatSubnet(subnet);
  const [head = "", prefix = ""] = text.trim().split("/");
  const address = parseAddress(head);
  const wider =
    address && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (address.family === 4 ? 32 : 128)
      ? subnetOf(address, Number(prefix))
      : undefined;
  const hint = wider ? `: it has host bits set; write ${formatSubnet(wider)} for the subnet or ${head} for the one address` : "";
  throw new EngineError("invalid", `"${text}" is no subnet or address such as 10.0.1.0/24, fd00::/64 or 10.0.1.7${hint}`);
}

/**
 * Adds an entry. The first one of a host switches `useAnyNetwork` off: who lists networks means to use those.
 * Throws `invalid`, or `conflict` for a subnet that is listed already.
 */
export function addMigrationSubnet(
  settings: HostMigrationSettings,
  entry: HostMigrationNetwork,
  what: string = migrationNetwork,
): HostMigrationSettings {
  const added = { ...entry, subnet: canonicalSubnet(entry.subnet), priority: checkPriority(entry.priority) };
  if (settings.networks.some(({ subnet }) => subnet === added.subnet)) {
    throw new EngineError("conflict", `${added.subnet} is a ${what} of this host already; change its priority instead`);
  }
  if (settings.networks.length >= MAX_ENTRIES) throw new EngineError("invalid", `a host has at most ${MAX_ENTRIES} ${what}s`);
  const useAnyNetwork = settings.networks.length === 0 ? false : settings.useAnyNetwork;
  return { ...settings, useAnyNetwork, networks: inOrder([...settings.networks, added]) };
}

/** Changes every entry that `edit.subnet` selects; a new subnet only when that is one. Gives the changed entries too. */
export function setMigrationSubnets(
  settings: HostMigrationSettings,
  edit: MigrationSubnetEdit,
  what: string = migrationNetwork,
): { readonly settings: HostMigrationSettings; readonly changed: readonly HostMigrationNetwork[] } {
  const selected = select(settings, edit.subnet, what);
  const newSubnet = edit.newSubnet === undefined ? undefined : canonicalSubnet(edit.newSubnet);
  if (newSubnet !== undefined && selected.length > 1) {
    throw new EngineError("invalid", `${edit.subnet} selects ${selected.length} entries, which cannot all become ${newSubnet}`);
  }
  const rest = settings.networks.filter((entry) => !selected.includes(entry));
  if (newSubnet !== undefined && rest.some(({ subnet }) => subnet === newSubnet)) {
    throw new EngineError("conflict", `${newSubnet} is a ${what} of this host already`);
  }
  const changed = selected.map((entry) => ({
    ...entry,
    subnet: newSubnet ?? entry.subnet,
    priority: checkPriority(edit.newPriority ?? entry.priority),
  }));
  return { settings: { ...settings, networks: inOrder([...rest, ...changed]) }, changed };
}

/** Removes what `pattern` selects. With the last entry gone, any network may be used again. */
export function removeMigrationSubnets(
  settings: HostMigrationSettings,
  pattern: string,
  what: string = migrationNetwork,
): { readonly settings: HostMigrationSettings; readonly removed: readonly HostMigrationNetwork[] } {
  const removed = select(settings, pattern, what);
  const networks = settings.networks.filter((entry) => !removed.includes(entry));
  return { settings: { ...settings, useAnyNetwork: networks.length === 0 || settings.useAnyNetwork, networks }, removed };
}

/** Whether a subnet is meant by a subnet or a pattern: `192.168.*`, whatever the case. */
export function subnetMatches(pattern: string, subnet: string): boolean {
  if (!/[*?]/.test(pattern)) {
    const exact = parseSubnet(pattern.trim());
    return exact !== undefined && formatSubnet(exact) === subnet;
  }
  return wildcard(pattern.trim().toLowerCase(), subnet.toLowerCase());
}

function select(settings: HostMigrationSettings, pattern: string, what: string): HostMigrationNetwork[] {
  const selected = settings.networks.filter(({ subnet }) => subnetMatches(pattern, subnet));
  if (selected.length > 0) return selected;
  const there = settings.networks.map(({ subnet }) => subnet).join(", ");
  throw new EngineError("not-found", `no ${what} of this host is ${pattern}; ${there === "" ? "it has none" : `it has ${there}`}`);
}

/** Two pointers instead of a regular expression, which a pattern of many stars could keep busy. */
function wildcard(pattern: string, text: string): boolean {
  let [at, from, star, mark] = [0, 0, -1, 0];
  while (at < text.length) {
    if (pattern[from] === "*") {
      star = from;
      mark = at;
      from += 1;
    } else if (pattern[from] === "?" || pattern[from] === text[at]) {
      from += 1;
      at += 1;
    } else if (star >= 0) {
      from = star + 1;
      mark += 1;
      at = mark;
    } else return false;
  }
  while (pattern[from] === "*") from += 1;
  return from === pattern.length;
}

function inOrder(networks: readonly HostMigrationNetwork[]): HostMigrationNetwork[] {
  return networks.toSorted((a, b) => a.priority - b.priority || compareSubnetTexts(a.subnet, b.subnet));
}

function checkPriority(priority: number): number {
  return checkInteger("priority", priority, { from: 0, to: MAX_PRIORITY });
}
