import { EngineError } from "../model/errors.ts";
import type { CommandResult, HostShell } from "../ports/shell.ts";
import { parseCounters } from "./parse-counters.ts";
import { parseHostNetwork } from "./parse-facts.ts";
import type { CounterReading, HostNetworkFacts } from "./facts.ts";

/**
 * Facts in one round trip. Guests' taps are left out on the host already: there may be thousands. `ip`
 * prints one long line; it is cut between interfaces, so that a filter by line can do that.
 */
const FACTS_SCRIPT = `
LC_ALL=C; PATH="$PATH:/usr/sbin:/sbin"; export LC_ALL PATH
command -v ip >/dev/null 2>&1 || { echo "the command ip (package iproute2 or iproute) is missing" >&2; exit 3; }
links=$(ip -d -j addr show) || { echo "ip -j failed: iproute2 4.14 or later is needed" >&2; exit 4; }
echo '@@ links'
printf '%s\\n' "$links" | sed 's/},{"ifindex"/},\\n{"ifindex"/g' | grep -v '"master":.*"info_kind":"tun"'
for family in 4 6; do echo '@@ routes'; ip -j -$family route show default 2>/dev/null; done
echo '@@ speeds'
for file in /sys/class/net/*/speed; do
  if read -r speed <"$file"; then name=\${file%/speed}; echo "\${name##*/} $speed"; fi
done 2>/dev/null
echo '@@ rdma'
for path in /sys/class/infiniband/*/device/net/*; do [ -e "$path" ] && echo "\${path##*/}"; done
echo '@@ storage'
for file in /sys/class/iscsi_connection/*/persistent_address; do
  if read -r address <"$file"; then echo "$address"; fi
done 2>/dev/null
for dir in /sys/class/nvme/*; do
  if read -r kind <"$dir/transport" && [ "$kind" = tcp ] && read -r address <"$dir/address"; then
    address=\${address#*traddr=}; echo "\${address%%,*}"
  fi
done 2>/dev/null
echo '@@ tools'
for tool in ping timeout bash; do command -v "$tool" >/dev/null 2>&1 && echo "$tool"; done
echo '@@ end'
`;

const COUNTERS_SCRIPT = "read -r up rest </proc/uptime && echo $up && cat /proc/self/net/dev";

/**
 * Reads a host's interfaces, addresses, routes and tools. Rejects with `hypervisor` when the host lacks what
 * is needed or answers nonsense, and with what the shell throws when it is out of reach.
 */
export async function readHostNetwork(shell: HostShell, signal: AbortSignal): Promise<HostNetworkFacts> {
  return parseHostNetwork(output(await shell.run(["/bin/sh", "-c", FACTS_SCRIPT], { signal }), "its network facts"));
}

/** Bytes per interface now: one `read` and one `cat`, cheap enough to ask every second. */
export async function readCounters(shell: HostShell, signal: AbortSignal): Promise<CounterReading> {
  return parseCounters(output(await shell.run(["/bin/sh", "-c", COUNTERS_SCRIPT], { signal }), "its interface counters"));
}

function output({ code, stdout, stderr }: CommandResult, what: string): string {
  if (code === 0) return stdout;
  const said = stderr.trim().split("\n").slice(-2).join("; ").slice(0, 300);
  throw new EngineError("hypervisor", `the host did not tell ${what} (exit ${code ?? "by signal"})${said === "" ? "" : `: ${said}`}`);
}
