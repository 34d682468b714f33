import { isIPv4, isIPv6 } from "node:net";

/** An IPv4 or IPv6 address as a number, so that subnets are arithmetic. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A subnet; `base` has no host bits. A single address is a subnet with the longest prefix. */
export interface Subnet {
  readonly family: 4 | 6;
  readonly base: bigint;
  readonly prefix: number;
}

const bits = { 4: 32, 6: 128 } as const;

/** Undefined for anything but a plain address: no zone (`%eth0`), no prefix length, no name. */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: parseV4(text) };
  if (isIPv6(text) && !text.includes("%")) return { family: 6, value: parseV6(text) };
  return undefined;
}

/** `10.0.1.0/24`, `fd00::/64` or a single address. Undefined when it is none of these or has host bits set. */
export function parseSubnet(text: string): Subnet | undefined {
  const [addressText = "", prefixText, ...rest] = text.split("/");
  const address = parseAddress(addressText);
  if (!address || rest.length > 0) return undefined;
  if (prefixText !== undefined && !/^(0|[1-9]\d{0,2})$/.test(prefixText)) return undefined;
  const prefix = prefixText === undefined ? bits[address.family] : Number(prefixText);
  if (prefix > bits[address.family]) return undefined;
  const subnet = subnetOf(address, prefix);
  return subnet.base === address.value ? subnet : undefined;
}

export function subnetOf(address: IpAddress, prefix: number): Subnet {
  const hostBits = BigInt(bits[address.family] - prefix);
  return { family: address.family, base: (address.value >> hostBits) << hostBits, prefix };
}

export function contains(subnet: Subnet, address: IpAddress): boolean {
  return subnet.family === address.family && subnetOf(address, subnet.prefix).base === subnet.base;
}

/** The canonical text: without `/32` or `/128` for a single address, IPv6 as in RFC 5952. */
export function formatSubnet(subnet: Subnet): string {
  const address = formatAddress({ family: subnet.family, value: subnet.base });
  return subnet.prefix === bits[subnet.family] ? address : `${address}/${subnet.prefix}`;
}

export function formatAddress({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - 16 * index)) & 0xffffn));
  const gap = longestZeroRun(groups);
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  return gap ? `${text(groups.slice(0, gap.start))}::${text(groups.slice(gap.start + gap.length))}` : text(groups);
}

/** IPv4 before IPv6, then by number, the wider subnet first. */
export function compareSubnets(a: Subnet, b: Subnet): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.base !== b.base) return a.base < b.base ? -1 : 1;
  return a.prefix - b.prefix;
}

/** Same as {@link compareSubnets} on texts that are known to be subnets. */
export function compareSubnetTexts(a: string, b: string): number {
  const [left, right] = [parseSubnet(a), parseSubnet(b)];
  return left && right ? compareSubnets(left, right) : a < b ? -1 : a > b ? 1 : 0;
}

function parseV4(text: string): bigint {
  return text.split(".").reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

function parseV6(text: string): bigint {
  const [head = "", tail] = text.split("::");
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => 0n);
  return [...front, ...zeros, ...back].reduce((value, group) => (value << 16n) | group, 0n);
}

/** The last group may be a dotted quad (`::ffff:10.0.0.1`), which is two. */
function groupsOf(text: string): bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const quad = parseV4(group);
    return [quad >> 16n, quad & 0xffffn];
  });
}

/** RFC 5952: the first of the longest runs of at least two zero groups. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } | undefined {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
    start += length;
  }
  return best.length > 1 ? best : undefined;
}
