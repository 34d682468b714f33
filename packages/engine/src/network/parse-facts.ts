import { z } from "zod";
import { EngineError } from "../model/errors.ts";
import type { HostNetworkFacts, InterfaceAddress, InterfaceFacts } from "./facts.ts";
import { formatAddress, parseAddress } from "./ip.ts";

const MAX_LINES = 8192;
const MAX_ADDRESSES = 256;
const MAX_LIST = 1024;

const sectionNames = ["links", "routes", "speeds", "rdma", "storage", "tools", "end"] as const;
type SectionName = (typeof sectionNames)[number];

/** Linux allows 15 bytes and forbids `/` and space; `:` is for aliases. */
const interfaceName = z.string().regex(/^[^\s/]{1,15}$/);
const mac = z
  .string()
  .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5,19}$/i)
  .transform((text) => text.toLowerCase());

/** What of `ip -d -j addr` is used (iproute2, ip/ipaddress.c). */
const IpAddr = z.object({
  family: z.string(),
  local: z.string().max(64),
  prefixlen: z.int().min(0).max(128),
  scope: z.string().optional(),
  deprecated: z.boolean().optional(),
  temporary: z.boolean().optional(),
  tentative: z.boolean().optional(),
  dadfailed: z.boolean().optional(),
});
const IpLink = z.object({
  ifname: interfaceName,
  flags: z.array(z.string()).max(64),
  mtu: z.int().min(0).max(0xffff_ffff),
  link_type: z.string(),
  address: mac.optional().catch(undefined),
  permaddr: mac.optional().catch(undefined),
  master: interfaceName.optional(),
  link: interfaceName.nullish(),
  link_netnsid: z.int().nullish(),
  linkinfo: z.object({ info_kind: z.string().max(64).optional() }).optional(),
  addr_info: z.array(z.unknown()).max(MAX_ADDRESSES).optional(),
});
const IpRoute = z.object({
  dev: interfaceName.optional(),
  nexthops: z
    .array(z.object({ dev: interfaceName.optional() }))
    .max(256)
    .optional(),
});

/** Reads what the facts script printed. Throws `hypervisor` for anything it would not print. */
export function parseHostNetwork(text: string): HostNetworkFacts {
  const sections = splitSections(text);
  const speeds = new Map(sections.speeds.map(parseSpeed).filter((speed) => speed !== undefined));
  const rdma = new Set(sections.rdma);
  const interfaces = sections.links.flatMap(parseLinkLine).map((link) => toInterface(link, speeds.get(link.ifname), rdma.has(link.ifname)));
  const names = new Set(interfaces.map((each) => each.name));
  if (names.size !== interfaces.length) throw nonsense("it lists an interface twice");
  return {
    interfaces,
    gatewayInterfaces: [...new Set(sections.routes.flatMap(parseRoutes))].sort(),
    storageTargets: [...new Set(sections.storage.flatMap(canonicalAddress))].sort(),
    probes: { ping: sections.tools.includes("ping"), tcp: sections.tools.includes("bash") && sections.tools.includes("timeout") },
  };
}

function splitSections(text: string): Record<SectionName, string[]> {
  const lines = text.split("\n", MAX_LINES + 1);
  if (lines.length > MAX_LINES) throw nonsense(`more than ${MAX_LINES} lines`);
  const sections: Record<SectionName, string[]> = { links: [], routes: [], speeds: [], rdma: [], storage: [], tools: [], end: [] };
  const seen = new Set<SectionName>();
  let current: SectionName | undefined;
  for (const line of lines) {
    const heading = line.startsWith("@@ ") ? line.slice(3) : undefined;
    if (heading !== undefined) {
      current = sectionNames.find((name) => name === heading);
      if (!current) throw nonsense("an unknown section");
      seen.add(current);
    } else if (line !== "") {
      if (!current) throw nonsense("text before the first section");
      sections[current].push(line);
    }
  }
  const missing = sectionNames.filter((name) => !seen.has(name));
  if (missing.length > 0) throw nonsense(`it ends early; missing: ${missing.join(", ")}`);
  for (const name of ["speeds", "rdma", "storage"] as const)
    if (sections[name].length > MAX_LIST * 8) throw nonsense(`too long a list of ${name}`);
  return sections;
}

/** One interface per line: what the script made of `ip`'s array. */
function parseLinkLine(line: string): z.infer<typeof IpLink>[] {
  const start = line.startsWith("[") ? 1 : 0;
  const body = line.slice(start).replace(/[\],]$/, "");
  if (body === "") return [];
  const parsed = parseJson(body);
  // Old versions of ip print an empty object for an interface that a filter left out.
  if (typeof parsed === "object" && parsed !== null && Object.keys(parsed).length === 0) return [];
  return [check(IpLink, parsed, "an interface")];
}

function toInterface(link: z.infer<typeof IpLink>, speedMbps: number | undefined, rdma: boolean): InterfaceFacts {
  return {
    name: link.ifname,
    kind: link.linkinfo?.info_kind,
    loopback: link.flags.includes("LOOPBACK") || link.link_type === "loopback",
    mac: link.address,
    permanentMac: link.permaddr,
    enabled: link.flags.includes("UP"),
    carrier: link.flags.includes("LOWER_UP"),
    pointToPoint: link.flags.includes("POINTOPOINT") || link.flags.includes("NOARP"),
    mtu: link.mtu,
    speedMbps,
    rdma,
    master: link.master,
    lower: link.link ?? undefined,
    lowerElsewhere: typeof link.link_netnsid === "number",
    addresses: (link.addr_info ?? []).flatMap(toAddress),
  };
}

function toAddress(raw: unknown): InterfaceAddress[] {
  if (typeof raw === "object" && raw !== null && Object.keys(raw).length === 0) return [];
  const info = check(IpAddr, raw, "an address");
  const family = info.family === "inet" ? 4 : info.family === "inet6" ? 6 : undefined;
  if (!family) return [];
  const address = parseAddress(info.local);
  if (address?.family !== family || info.prefixlen > (family === 4 ? 32 : 128)) throw nonsense("an address that is none");
  return [
    {
      family,
      address: formatAddress(address),
      prefix: info.prefixlen,
      scope: info.scope === "global" ? "global" : info.scope === "link" ? "link" : "other",
      stable: !(info.deprecated || info.temporary || info.tentative || info.dadfailed),
      duplicate: info.dadfailed === true,
    },
  ];
}

function parseRoutes(line: string): string[] {
  const routes = check(z.array(IpRoute).max(MAX_LIST), parseJson(line), "a route");
  return routes.flatMap((route) => [route.dev, ...(route.nexthops ?? []).map((hop) => hop.dev)]).filter((dev) => dev !== undefined);
}

/** The kernel says -1, or 4294967295, where the driver does not know. */
function parseSpeed(line: string): readonly [string, number] | undefined {
  const match = /^([^\s/]{1,15}) (-?\d{1,10})$/.exec(line);
  if (!match?.[1]) throw nonsense("an unreadable speed");
  const speed = Number(match[2]);
  return speed > 0 && speed < 0x7fff_ffff ? [match[1], speed] : undefined;
}

/** A target may also be a host name, which tells no network: left out. */
function canonicalAddress(line: string): string[] {
  const address = parseAddress(line.trim());
  return address ? [formatAddress(address)] : [];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw nonsense("broken JSON from ip", { cause });
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw nonsense(`${what} with an unexpected ${issue?.path.join(".") || "shape"}`);
}

function nonsense(why: string, options?: ErrorOptions): EngineError {
  return new EngineError("hypervisor", `the host's network facts are unreadable: ${why}`, {}, options);
}
