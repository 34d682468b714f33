import type { Check } from "../model/reason.ts";
import { type HostFindings, migrationPorts, type ShellFindings } from "./facts.ts";

const oldestTriedLibvirt = "8.0";
const skewLimitMs = 2000;

/** What is right and wrong with a host. */
export function judgeHost(findings: HostFindings): Check[] {
  return [reachable(findings), ...hypervisor(findings), ...shellChecks(findings), ...ports(findings)];
}

function reachable({ host: { name, state, reason, uri } }: HostFindings): Check {
  if (state === "up") return { id: "reachable", verdict: "pass", text: `${name} answers at ${uri}` };
  return {
    id: "reachable",
    verdict: "fail",
    text: `${name} is ${state}: ${reason.text}`,
    remedy: `see whether this works on the server's machine: virsh -c '${uri}' nodeinfo`,
  };
}

function hypervisor({ host: { facts } }: HostFindings): Check[] {
  if (!facts) return [{ id: "versions", verdict: "not-applicable", text: "the host has not said yet what it runs" }];
  const { versions, acceleration } = facts;
  return [
    compareVersions(versions.libvirt, oldestTriedLibvirt) >= 0
      ? { id: "libvirt", verdict: "pass", text: `libvirt ${versions.libvirt}` }
      : {
          id: "libvirt",
          verdict: "warn",
          text: `libvirt ${versions.libvirt} is older than any that Godwit was tried with`,
          remedy: `upgrade to ${oldestTriedLibvirt} or later`,
        },
    {
      id: "versions",
      verdict: "pass",
      text: `QEMU ${versions.hypervisor ?? "of unknown version"}, kernel ${versions.kernel ?? "unknown"}${versions.os === undefined ? "" : `, ${versions.os}`}`,
    },
    acceleration.kind === "kvm"
      ? { id: "acceleration", verdict: "pass", text: acceleration.text }
      : {
          id: "acceleration",
          verdict: "warn",
          text: acceleration.text,
          remedy: "enable virtualization in the firmware (in a VM: nested virtualization), and load kvm_intel or kvm_amd",
        },
  ];
}

function shellChecks({ host, shell }: HostFindings): Check[] {
  if (shell === "none") {
    const text = `${host.name} has no shell, so its networks, byte counters and shared files are not known`;
    return [{ id: "shell", verdict: "warn", text, remedy: "add the host with a qemu+ssh:// URI, or with --ssh" }];
  }
  if ("problem" in shell) {
    return [
      {
        id: "shell",
        verdict: "fail",
        text: `no command can be run on ${host.name}: ${shell.problem}`,
        remedy: "check that the server's user can log in with ssh without a password, and that the host's key is in its known_hosts",
      },
    ];
  }
  return [
    { id: "shell", verdict: "pass", text: `commands run on ${host.name}` },
    tools(shell),
    time(shell),
    ...memory(host, shell),
    hostname(shell),
    keepalive(shell),
  ];
}

function tools({ tools }: ShellFindings): Check {
  const id = "tools";
  if (!tools.includes("ip"))
    return {
      id,
      verdict: "fail",
      text: "the command ip is missing: no network of this host can be seen",
      remedy: "install the package iproute2 (Red Hat: iproute)",
    };
  if (!tools.includes("ping"))
    return {
      id,
      verdict: "warn",
      text: "the command ping is missing: reachability is tried over TCP only",
      remedy: "install the package iputils-ping (Red Hat: iputils)",
    };
  return { id, verdict: "pass", text: "ip and ping are there" };
}

function time({ skewMs, uncertaintyMs }: ShellFindings): Check {
  const id = "time";
  const off = Math.max(0, Math.abs(skewMs) - uncertaintyMs);
  const text = `the clock is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs < 0 ? "behind" : "ahead of"} the server's`;
  if (off > skewLimitMs) return { id, verdict: "warn", text, remedy: "enable time synchronization on both: timedatectl set-ntp true" };
  return { id, verdict: "pass", text };
}

function memory({ facts }: HostFindings["host"], { availableMemoryBytes }: ShellFindings): Check[] {
  const total = facts?.memoryBytes;
  if (availableMemoryBytes === undefined || total === undefined || total === 0) return [];
  const text = `${Math.floor(availableMemoryBytes / (1 << 20))} of ${Math.floor(total / (1 << 20))} MiB of memory are available`;
  if (availableMemoryBytes >= total / 20) return [{ id: "memory", verdict: "pass", text }];
  return [{ id: "memory", verdict: "warn", text, remedy: "move a VM away: nothing more fits here, and the host may begin to swap" }];
}

function hostname({ hostname, resolvesTo, resolveTimeoutSeconds }: ShellFindings): Check {
  const id = "hostname";
  const remedy = `write its address on the management network into /etc/hosts of every host: '192.0.2.10 ${hostname}'`;
  if (resolveTimeoutSeconds !== undefined) {
    return {
      id,
      verdict: "fail",
      text: `resolving its own name ${hostname} takes longer than ${resolveTimeoutSeconds} s, and libvirt does that in every migration`,
      remedy,
    };
  }
  if (resolvesTo.length === 0)
    return { id, verdict: "warn", text: `its own name ${hostname} does not resolve, which libvirt tries in every migration`, remedy };
  const loopback = resolvesTo.filter((address) => address.startsWith("127.") || address === "::1");
  if (loopback.length === resolvesTo.length) {
    const text = `its own name ${hostname} resolves to ${loopback.join(" and ")}: other tools than Godwit, which names addresses, would migrate to the wrong machine`;
    return { id, verdict: "warn", text, remedy };
  }
  return { id, verdict: "pass", text: `its own name ${hostname} resolves to ${resolvesTo.join(", ")}` };
}

function keepalive({ keepaliveInterval }: ShellFindings): Check {
  const id = "keepalive";
  if (keepaliveInterval !== undefined && keepaliveInterval <= 0) {
    return {
      id,
      verdict: "warn",
      text: "libvirt's keepalive is off: the host notices a lost server or peer only after minutes",
      remedy: "remove keepalive_interval from libvirtd.conf (or virtqemud.conf) and restart it",
    };
  }
  return { id, verdict: "pass", text: `libvirt's keepalive is on (every ${keepaliveInterval ?? 5} s)` };
}

function ports({ host, ports }: HostFindings): Check[] {
  const { first, last, tried } = migrationPorts;
  return ports.map(({ network, from, address, outcome }) => {
    const id = `migration-ports:${network}`;
    if (outcome === "reachable") return { id, verdict: "pass", text: `${from} reaches ${address}, port ${tried}, on ${network}` };
    if (outcome === "unknown")
      return { id, verdict: "not-applicable", text: `whether ${from} reaches ${address}, port ${tried}, on ${network} could not be tried` };
    return {
      id,
      verdict: "warn",
      text: `nothing came back from ${address}, port ${tried}, when ${from} tried on ${network}: a firewall may drop migrations to ${host.name}`,
      remedy: `allow TCP ports ${first}-${last} from the other hosts on ${network}`,
    };
  });
}

/** By their numbers, from left to right. */
function compareVersions(a: string, b: string): number {
  const [x, y] = [a.split("."), b.split(".")];
  for (let i = 0; i < Math.max(x.length, y.length); i += 1) {
    const difference = Number.parseInt(x[i] ?? "0", 10) - Number.parseInt(y[i] ?? "0", 10);
    if (difference !== 0) return difference;
  }
  return 0;
}
