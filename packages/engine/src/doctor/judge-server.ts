import type { Check } from "../model/reason.ts";
import type { ServerMachineFacts } from "./facts.ts";

const minimumNode = [24, 12] as const;
const lowSpaceBytes = 1 << 30;
const noSpaceBytes = 64 << 20;

/** What is right and wrong with the machine of the server. */
export function judgeServer(facts: ServerMachineFacts): Check[] {
  return [node(facts), stateDir(facts), space(facts), socket(facts), clock(facts), hosts(facts)];
}

function node({ node }: ServerMachineFacts): Check {
  const [major = 0, minor = 0] = node.replace(/^v/, "").split(".").map(Number);
  const recent = major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1]);
  if (recent) return { id: "node", verdict: "pass", text: `Node ${node}` };
  return {
    id: "node",
    verdict: "fail",
    text: `Node ${node} is older than ${minimumNode.join(".")}`,
    remedy: "run the server on the Node that ships with it (./godwit server)",
  };
}

function stateDir({ stateDir: { path, problem, mode } }: ServerMachineFacts): Check {
  const id = "state-dir";
  if (problem !== undefined)
    return {
      id,
      verdict: "fail",
      text: `${path} cannot be written: ${problem}`,
      remedy: `give it to the server's user, or name another with --state-dir`,
    };
  if (mode !== undefined && (mode & 0o077) !== 0) {
    return { id, verdict: "warn", text: `${path} may be opened by other users (mode ${mode.toString(8)})`, remedy: `chmod 0700 ${path}` };
  }
  return { id, verdict: "pass", text: `${path} can be written, by the server alone` };
}

function space({ stateDir: { path, freeBytes } }: ServerMachineFacts): Check {
  const id = "free-space";
  if (freeBytes === undefined) return { id, verdict: "not-applicable", text: `the free space of ${path} is not known` };
  const GiB = 1 << 30;
  const amount = freeBytes >= GiB ? `${(freeBytes / GiB).toFixed(1)} GiB` : `${Math.floor(freeBytes / (1 << 20))} MiB`;
  const text = `${amount} are free at ${path}`;
  if (freeBytes < noSpaceBytes) return { id, verdict: "fail", text, remedy: "free some space: jobs cannot be written down without it" };
  if (freeBytes < lowSpaceBytes) return { id, verdict: "warn", text, remedy: "free some space before jobs can no longer be written down" };
  return { id, verdict: "pass", text };
}

function socket({ socket: { path, mode } }: ServerMachineFacts): Check {
  const id = "socket";
  if (mode === undefined)
    return {
      id,
      verdict: "fail",
      text: `the socket ${path} is gone`,
      remedy: "restart the server; see what cleans up its folder (RuntimeDirectory= in the unit keeps it)",
    };
  if ((mode & 0o077) !== 0)
    return {
      id,
      verdict: "fail",
      text: `the socket ${path} may be opened by other users (mode ${mode.toString(8)})`,
      remedy: `chmod 0600 ${path}`,
    };
  return { id, verdict: "pass", text: `${path} may be opened by the server's user alone` };
}

function clock({ clockSynchronized }: ServerMachineFacts): Check {
  const id = "clock";
  if (clockSynchronized === true) return { id, verdict: "pass", text: "the clock is synchronized" };
  if (clockSynchronized === undefined)
    return {
      id,
      verdict: "not-applicable",
      text: "systemd-timesyncd does not run here, so whether the clock is synchronized is not known",
    };
  return { id, verdict: "warn", text: "the clock is not synchronized", remedy: "enable time synchronization: timedatectl set-ntp true" };
}

function hosts({ hosts }: ServerMachineFacts): Check {
  if (hosts >= 2) return { id: "hosts", verdict: "pass", text: `${hosts} hosts have been added` };
  return {
    id: "hosts",
    verdict: "warn",
    text: hosts === 0 ? "no host has been added yet" : "only one host has been added: a VM has nowhere to go",
    remedy: "godwit host add NAME qemu+ssh://root@HOST/system",
  };
}
