import { type Clock, describeError, raceAbort, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostView } from "../model/host.ts";
import type { NetworkInterface } from "../model/network.ts";
import type { HostShell } from "../ports/shell.ts";
import { type HostFindings, migrationPorts, type PortProbe, type ShellFindings } from "./facts.ts";

export interface GatherOptions {
  readonly hosts: readonly HostView[];
  /** Throws for a host without a way to a shell. */
  readonly shell: (hostId: string) => HostShell;
  /** Of the cluster's networks, for the tries of migration ports. */
  readonly interfaces: readonly NetworkInterface[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const hostDeadlineMs = 15_000;
const resolveSeconds = 3;

const script = `
LC_ALL=C; PATH="$PATH:/usr/sbin:/sbin"; export LC_ALL PATH
echo "time $(date +%s%N)"
name=$(uname -n); echo "hostname $name"
if command -v timeout >/dev/null 2>&1; then found=$(timeout ${resolveSeconds} getent ahosts "$name"); else found=$(getent ahosts "$name"); fi
[ $? = 124 ] && echo "resolve-timeout ${resolveSeconds}"
printf '%s\\n' "$found" | while read -r address rest; do [ -n "$address" ] && echo "address $address"; done
for tool in ip ping timeout bash; do command -v "$tool" >/dev/null 2>&1 && echo "tool $tool"; done
for file in /etc/libvirt/libvirtd.conf /etc/libvirt/virtqemud.conf; do
  [ -r "$file" ] && sed -n 's/^[[:space:]]*keepalive_interval[[:space:]]*=[[:space:]]*/keepalive /p' "$file"
done
sed -n 's/^MemAvailable:[[:space:]]*\\([0-9]*\\) kB/memory \\1/p' /proc/meminfo
echo end
`;

/** Looks at every host at the same time. A host that fails is a finding, not an error. */
export async function gatherHosts(options: GatherOptions): Promise<HostFindings[]> {
  const probes = planPorts(options.hosts, options.interfaces);
  const [shells, ports] = await Promise.all([
    Promise.all(options.hosts.map((host) => look(host, options))),
    Promise.all([...Map.groupBy(probes, ({ fromId }) => fromId)].map(([fromId, group]) => tryPorts(fromId, group, options))),
  ]);
  options.signal.throwIfAborted();
  return options.hosts.map((host, index) => ({
    host,
    shell: shells[index] ?? "none",
    ports: ports.flat().filter(({ toId }) => toId === host.id),
  }));
}

/** The host's shell; undefined when it was registered without a way to one. */
function shellOf(hostId: string, { shell }: GatherOptions): HostShell | undefined {
  try {
    return shell(hostId);
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid") return undefined;
    throw error;
  }
}

async function look(host: HostView, options: GatherOptions): Promise<HostFindings["shell"]> {
  try {
    const shell = shellOf(host.id, options);
    return shell ? await ask(shell, options) : "none";
  } catch (error) {
    return { problem: describeError(error) };
  }
}

async function ask(shell: HostShell, { clock, signal }: GatherOptions): Promise<ShellFindings> {
  await run(shell, ["true"], signal);
  const [sentAt, started] = [clock.now(), clock.monotonic()];
  const output = await run(shell, ["/bin/sh", "-c", script], signal);
  // The host reads its clock first of all, so the answer's own duration says little about when.
  return parseFindings(output, { sentAt, tookMs: clock.monotonic() - started });
}

async function run(shell: HostShell, argv: readonly string[], signal: AbortSignal): Promise<string> {
  const late = (): Error => new EngineError("timeout", `no answer within ${hostDeadlineMs / 1000} s`);
  const { stdout, stderr, code } = await withDeadline(hostDeadlineMs, late, signal, (within) =>
    raceAbort(shell.run(argv, { signal: within }), within),
  );
  if (code !== 0) throw new EngineError("hypervisor", `a command ended with ${code ?? "a signal"}: ${stderr.trim().slice(0, 200)}`);
  return stdout;
}

/** Exported for its tests: the output of another machine. */
export function parseFindings(output: string, { sentAt, tookMs }: { readonly sentAt: number; readonly tookMs: number }): ShellFindings {
  const lines = output.split("\n").map((line) => line.trim().split(/\s+/, 2) as [string, string | undefined]);
  if (!lines.some(([key]) => key === "end")) throw new EngineError("hypervisor", "the host's answer is cut short");
  const all = (key: string): string[] => [
    ...new Set(lines.flatMap(([name, value]) => (name === key && value !== undefined ? [value.slice(0, 255)] : []))),
  ];
  const integer = (key: string): number | undefined => {
    const [text] = all(key);
    return text !== undefined && /^-?\d{1,19}$/.test(text) ? Number(text) : undefined;
  };
  const time = integer("time");
  if (time === undefined) throw new EngineError("hypervisor", "the host does not tell its time");
  const memory = integer("memory");
  return {
    skewMs: Math.round(time / 1e6 - (sentAt + tookMs / 2)),
    uncertaintyMs: Math.ceil(tookMs / 2),
    hostname: all("hostname")[0] ?? "",
    resolvesTo: all("address").slice(0, 16),
    resolveTimeoutSeconds: integer("resolve-timeout"),
    tools: all("tool"),
    keepaliveInterval: integer("keepalive"),
    availableMemoryBytes: memory === undefined ? undefined : memory * 1024,
  };
}

interface PlannedProbe {
  readonly network: string;
  readonly fromId: string;
  readonly from: string;
  readonly toId: string;
  readonly address: string;
}

/** Each host is tried once on each of its networks, by the next host there: n tries for n hosts, not n². */
function planPorts(hosts: readonly HostView[], interfaces: readonly NetworkInterface[]): PlannedProbe[] {
  const up = new Set(hosts.flatMap(({ id, state }) => (state === "up" ? [id] : [])));
  const usable = interfaces.filter(({ hostId, state, addresses }) => up.has(hostId) && state === "up" && addresses.length > 0);
  const probes: PlannedProbe[] = [];
  for (const group of Map.groupBy(usable, ({ networkId }) => networkId).values()) {
    const members = [...new Map(group.map((row) => [row.hostId, row])).values()];
    if (members.length < 2) continue;
    for (const [index, to] of members.entries()) {
      const from = members[(index + 1) % members.length]!;
      const address = to.addresses[0]!.split("/")[0]!;
      probes.push({ network: to.network, fromId: from.hostId, from: from.host, toId: to.hostId, address });
    }
  }
  return probes;
}

async function tryPorts(
  fromId: string,
  probes: readonly PlannedProbe[],
  options: GatherOptions,
): Promise<(PortProbe & { toId: string })[]> {
  const outcomes = new Map<number, PortProbe["outcome"]>();
  try {
    const shell = shellOf(fromId, options);
    const tries = probes.map(
      ({ address }, index) =>
        `(timeout 2 bash -c ': </dev/tcp/${onlyAddress(address)}/${migrationPorts.tried}' 2>/dev/null; echo "port ${index} $?") &`,
    );
    const output = shell ? await run(shell, ["/bin/sh", "-c", `${tries.join("\n")}\nwait`], options.signal) : "";
    for (const [, index, code] of output.matchAll(/^port (\d+) (\d+)$/gm)) {
      outcomes.set(Number(index), code === "0" || code === "1" ? "reachable" : code === "124" ? "silent" : "unknown");
    }
  } catch {
    options.signal.throwIfAborted();
  }
  return probes.map(({ network, from, toId, address }, index) => ({
    network,
    from,
    toId,
    address,
    outcome: outcomes.get(index) ?? "unknown",
  }));
}

/** Only what an address can hold; it came from a host. */
function onlyAddress(address: string): string {
  return address.replaceAll(/[^0-9a-fA-F:.]/g, "");
}
