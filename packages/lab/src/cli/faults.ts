import { type NetworkName, networkNames } from "../addresses.ts";
import type { FaultOptions } from "../faults.ts";
import type { LabHost } from "../host.ts";
import type { Lab } from "../lab.ts";
import { UsageError } from "./usage-error.ts";

export interface FaultFlags {
  readonly mbit: string | undefined;
  readonly unplug: boolean;
}

/** One verb of `lab fault`. `rest` is what follows the host. */
type Verb = (lab: Lab, host: LabHost, rest: readonly string[], flags: FaultFlags & FaultOptions) => Promise<void>;

const verbs: Readonly<Record<string, Verb>> = {
  "cut-link": (lab, host, rest, flags) => lab.faults.cutLink(host, networkOf(rest), flags),
  "restore-link": (lab, host, rest, flags) => lab.faults.restoreLink(host, networkOf(rest), flags),
  "slow-link": (lab, host, rest, { mbit, signal }) => {
    if (mbit === undefined) throw new UsageError("slow-link needs --mbit N");
    return lab.faults.slowLink(host, networkOf(rest), { mbit: Number(mbit), signal });
  },
  "kill-libvirtd": (lab, host, _, flags) => lab.faults.killLibvirtd(host, flags),
  "start-libvirtd": (lab, host, _, flags) => lab.faults.startLibvirtd(host, flags),
  "kill-qemu": (lab, host, [guest], flags) => {
    if (guest === undefined) throw new UsageError("kill-qemu needs a host and a guest");
    return lab.faults.killQemu(host, guest, flags);
  },
  "stop-sshd": (lab, host, _, flags) => lab.faults.stopSshd(host, flags),
  "start-sshd": (lab, host, _, flags) => lab.faults.startSshd(host, flags),
  "freeze-host": (lab, host, _, flags) => lab.faults.freezeHost(host, flags),
  "thaw-host": (lab, host, _, flags) => lab.faults.thawHost(host, flags),
  "fill-disk": (lab, host, _, flags) => lab.faults.fillDisk(host, flags),
  "free-disk": (lab, host, _, flags) => lab.faults.freeDisk(host, flags),
  "crash-host": (lab, host, _, flags) => lab.faults.crashHost(host, flags),
  "boot-host": (_, host, __, flags) => host.boot(flags),
};

export async function injectFault(lab: Lab, args: readonly string[], flags: FaultFlags & FaultOptions): Promise<void> {
  const [name = "", host = "", ...rest] = args;
  const verb = verbs[name];
  if (!verb) throw new UsageError(`no fault '${name}', one of: ${Object.keys(verbs).join(", ")}`);
  await verb(lab, lab.host(host), rest, flags);
}

function networkOf([name]: readonly string[]): NetworkName {
  const network = networkNames.find((known) => known === name);
  if (!network) throw new UsageError(`no network '${name ?? ""}', one of: ${networkNames.join(", ")}`);
  return network;
}
