import { EngineError } from "../model/errors.ts";
import type { HostShell } from "../ports/shell.ts";
import type { Candidate, Member, MemberAddress } from "./candidates.ts";
import { parseProbeOutput, type ProbeAnswer } from "./parse-probe.ts";

/** One question to ask on one host: does this address reach that one? */
export interface ProbeTarget {
  readonly from: Member;
  readonly fromAddress: MemberAddress;
  readonly to: Member;
  readonly toAddress: MemberAddress;
  /** Where the peer's sshd listens: a refusal is an answer too. */
  readonly port: number;
}

/** More would be a mesh of hundreds of hosts; what does not fit stays unknown. */
const MAX_PROBES_PER_HOST = 2048;
const MAX_ADDRESSES_PER_INTERFACE = 4;

/**
 * Every pair of addresses worth probing, by the host to ask. Only addresses of the same subnet, only to hosts
 * that are not known to be gone, and only over interfaces that have a link.
 */
export function planProbes(candidates: readonly Candidate[], portOf: (hostId: string) => number): Map<string, ProbeTarget[]> {
  const byHost = new Map<string, ProbeTarget[]>();
  for (const { members } of candidates) {
    for (const from of members.filter(({ host, interface: { enabled, carrier } }) => host.state === "up" && enabled && carrier)) {
      const targets = byHost.get(from.host.id) ?? [];
      byHost.set(from.host.id, targets);
      for (const to of members.filter((member) => canAnswer(member, from))) targets.push(...pairs(from, to, portOf(to.host.id)));
    }
  }
  return new Map([...byHost].map(([hostId, targets]) => [hostId, targets.slice(0, MAX_PROBES_PER_HOST)]));
}

function canAnswer(to: Member, from: Member): boolean {
  if (to.host.id === from.host.id || to.host.state === "unavailable") return false;
  return to.host.state === "unknown" || (to.interface.enabled && to.interface.carrier);
}

function pairs(from: Member, to: Member, port: number): ProbeTarget[] {
  const own = new Set(from.host.facts?.interfaces.flatMap((each) => each.addresses.map(({ address }) => address)));
  return to.addresses
    .filter(({ address, duplicate }) => !own.has(address) && !duplicate)
    .slice(0, MAX_ADDRESSES_PER_INTERFACE)
    .flatMap((toAddress) => {
      const fromAddress = from.addresses.find(({ subnet, duplicate }) => subnet === toAddress.subnet && !duplicate);
      return fromAddress ? [{ from, fromAddress, to, toAddress, port }] : [];
    });
}

/**
 * Reads `number source destination port bytes` per line. Routes and neighbours are asked of `ip` in one go;
 * the probes run side by side, at most 128 at a time, each for at most about two seconds.
 *
 * `ping` binds to the source address. Where it is missing or stays silent, TCP is tried with bash, whose
 * refusal counts as an answer. QEMU's migration ports are never tried: a connection to a waiting QEMU would
 * be taken for the migration itself.
 */
const PROBE_SCRIPT = `
LC_ALL=C; PATH="$PATH:/usr/sbin:/sbin"; export LC_ALL PATH
targets=$(cat)
destinations=$(printf '%s\\n' "$targets" | while read -r n src dst port bytes; do echo "$dst"; done)
echo '@@ routes'
printf '%s\\n' "$destinations" | sed 's/^/route get /' | ip -o -force -batch - 2>/dev/null
echo '@@ answers'
has() { command -v "$1" >/dev/null 2>&1; }
has ping && ping=1 || ping=
has bash && has timeout && tcp=1 || tcp=
probe() {
  way=none; why=-; big=-
  if [ "$ping" ]; then
    if ping -n -q -c 1 -W 1 -I "$2" "$3" >/dev/null 2>&1; then way=ping; else why=silent; fi
    if [ "$way" = ping ] && [ "$5" -gt 0 ]; then
      ping -n -q -c 1 -W 1 -M do -s "$5" -I "$2" "$3" >/dev/null 2>&1
      case $? in 0) big=yes;; 1) big=no;; esac
    fi
  fi
  if [ "$way" = none ] && [ "$tcp" ]; then
    said=$(timeout 1 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$3" "$4" 2>&1)
    case "$?:$said" in
      0:*) way=tcp;; 124:*) why=timeout;; *refused*) way=refused;; *"No route"*) why=noroute;; *) why=error;;
    esac
  fi
  [ "$ping$tcp" ] || why=notool
  echo "$1 $way $why $big"
}
running=0
while read -r n src dst port bytes; do
  probe "$n" "$src" "$dst" "$port" "$bytes" &
  running=$((running + 1))
  if [ "$running" -ge 128 ]; then wait; running=0; fi
done <<TARGETS
$targets
TARGETS
wait
echo '@@ neighbours'
ip neigh show | grep -F -w "$destinations"
echo '@@ end'
`;

/** Asks one host all its questions in one round trip. Rejects as the shell does, or with `hypervisor` for nonsense. */
export async function runProbes(shell: HostShell, targets: readonly ProbeTarget[], signal: AbortSignal): Promise<ProbeAnswer[]> {
  if (targets.length === 0) return [];
  const stdin = targets.map((target, index) => `${index} ${targetLine(target)}\n`).join("");
  const { code, stdout, stderr } = await shell.run(["/bin/sh", "-c", PROBE_SCRIPT], { signal, stdin });
  if (code !== 0)
    throw new EngineError("hypervisor", `the host did not probe (exit ${code ?? "by signal"}): ${stderr.trim().slice(0, 300)}`);
  return parseProbeOutput(
    stdout,
    targets.map(({ toAddress }) => toAddress.address),
  );
}

/** Frames above the usual size are probed too: a switch that drops them lets a migration connect and then hang. */
function targetLine({ from, fromAddress, to, toAddress, port }: ProbeTarget): string {
  const mtu = Math.min(from.interface.mtu, to.interface.mtu);
  const headers = fromAddress.family === 4 ? 28 : 48;
  const bytes = from.interface.mtu === to.interface.mtu && mtu > 1500 && mtu <= 65_535 ? mtu - headers : 0;
  return `${fromAddress.address} ${toAddress.address} ${port} ${bytes}`;
}
