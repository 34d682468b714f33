import { LabError } from "./error.ts";

/** What a network of the lab is for. `spare` is for tests that cut a network which nothing needs. */
export const networkNames = ["management", "migration", "storage", "spare"] as const;
export type NetworkName = (typeof networkNames)[number];

/** One network as it is in one lab. Addresses are without prefix length. */
export interface LabNetwork {
  readonly name: NetworkName;
  /** The bridge, in the lab's switch namespace. */
  readonly bridge: string;
  /** The name of every host's interface on it. */
  readonly interface: string;
  readonly ipv4: string;
  /** Undefined: no IPv6 on this network. */
  readonly ipv6: string | undefined;
  readonly mtu: number;
}

export interface NetworkOptions {
  readonly ipv6?: boolean;
  readonly mtu?: number;
}

/** Labs that may run side by side on one machine: 10.200.0.0/16 to 10.254.0.0/16, one each. */
export const labCount = 55;
/** Hosts of one lab, each with a name. */
export const hostNames = [
  "alpha",
  "bravo",
  "charlie",
  "delta",
  "echo",
  "foxtrot",
  "golf",
  "hotel",
  "india",
  "juliet",
  "kilo",
  "lima",
] as const;

/** The machine's own address on the management network ends in this. */
const uplinkHost = 254;

const shortNames: Record<NetworkName, string> = { management: "mgmt", migration: "migr", storage: "stor", spare: "spar" };
const ipv6ByDefault: Record<NetworkName, boolean> = { management: true, migration: true, storage: false, spare: false };

/** The networks of lab number `index`; every lab's are disjoint. */
export function labNetworks(index: number, options: Partial<Record<NetworkName, NetworkOptions>> = {}): LabNetwork[] {
  if (!Number.isInteger(index) || index < 0 || index >= labCount) {
    throw new LabError("invalid", `lab number ${index}: must be 0 to ${labCount - 1}`);
  }
  return networkNames.map((name, at) => ({
    name,
    bridge: shortNames[name],
    interface: `${shortNames[name]}0`,
    ipv4: `10.${200 + index}.${at + 1}.0/24`,
    ipv6: (options[name]?.ipv6 ?? ipv6ByDefault[name]) ? `fd67:6f64:77${hex2(index)}:${at + 1}::/64` : undefined,
    mtu: options[name]?.mtu ?? 1500,
  }));
}

/** The address of host number `host` (from 0). */
export function hostAddress(network: LabNetwork, host: number): { ipv4: string; ipv6: string | undefined } {
  return addressOf(network, host + 1);
}

/** The address of the machine itself, which is on the management network only. */
export function uplinkAddress(network: LabNetwork): { ipv4: string; ipv6: string | undefined } {
  return addressOf(network, uplinkHost);
}

function addressOf(network: LabNetwork, last: number): { ipv4: string; ipv6: string | undefined } {
  return {
    ipv4: network.ipv4.replace(/0\/24$/, String(last)),
    ipv6: network.ipv6?.replace(/\/64$/, last.toString(16)),
  };
}

/** The lab's one interface in the machine's own network namespace. */
export function uplinkInterface(index: number): string {
  return `gwlab${index}`;
}

/** A host's port on a bridge of the switch; at most 15 characters, as the kernel wants. */
export function portName(host: string, network: NetworkName): string {
  return `${host}-${shortNames[network]}`;
}

/**
 * Lab numbers whose networks the machine does not use already, lowest first. `inUse` are IPv4 addresses
 * or prefixes (`10.201.0.0/16`) of its interfaces and routes.
 */
export function freeLabIndexes(inUse: readonly string[]): number[] {
  const taken = inUse.map(ipv4Range).filter((range) => range !== undefined);
  return Array.from({ length: labCount }, (_, index) => index).filter((index) => {
    const from = ((10 << 24) | ((200 + index) << 16)) >>> 0;
    return taken.every((range) => range.to < from || range.from > from + 0xffff);
  });
}

/** Undefined for what is no IPv4 prefix, and for the default route. */
function ipv4Range(text: string): { from: number; to: number } | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text);
  if (!match) return undefined;
  const bytes = match.slice(1, 5).map(Number);
  const length = match[5] === undefined ? 32 : Number(match[5]);
  if (length === 0 || length > 32 || bytes.some((byte) => byte > 255)) return undefined;
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const size = 2 ** (32 - length);
  const from = Math.floor(address / size) * size;
  return { from, to: from + size - 1 };
}

function hex2(value: number): string {
  return value.toString(16).padStart(2, "0");
}
