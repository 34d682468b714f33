import { describeError, type Clock } from "@godwit/core";
import type { InterfaceProof } from "../migration/model.ts";
import { interfaceProofs } from "../migration/proof.ts";
import type { Networks } from "../network/index.ts";
import { type CounterReading, readCounters } from "../network/index.ts";
import type { HostTls } from "../ports/backup.ts";
import type { HostShell } from "../ports/shell.ts";
import { planRoutes, type UsableRoute } from "./routes.ts";
import type { ProtectionHosts } from "./service.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** Where what captures read and recoveries write goes, and what went there. */
export interface BackupTraffic {
  /** Best first; never empty. Throws `refused`. `tls` is asked only where it matters. */
  routes(hostId: string, tls: (options: Cancellable) => Promise<HostTls>, options: Cancellable): Promise<UsableRoute[]>;
  /** Begins to count a host's bytes. */
  meter(hostId: string, options: Cancellable): TrafficMeter;
}

export interface TrafficMeter {
  /** Bytes of each interface since the meter began; empty when the host does not tell. Never rejects but on abort. */
  read(options: Cancellable): Promise<InterfaceProof[]>;
}

export interface BackupTrafficOptions {
  readonly hosts: ProtectionHosts;
  readonly networks: Pick<Networks, "backupTraffic" | "backupVerdicts" | "list">;
  readonly clock: Clock;
}

/** The SSH session and nothing else, with nobody counting. */
export const sshOnly: BackupTraffic = {
  routes: async () => [{ route: { kind: "ssh" }, view: { kind: "ssh", reason: { code: "ssh", text: "through the SSH session" } } }],
  meter: () => ({ read: async () => [] }),
};

/** By the networks that there are and what the admin decided. */
export function networkTraffic({ hosts, networks, clock }: BackupTrafficOptions): BackupTraffic {
  return {
    async routes(hostId, askTls, options) {
      const host = hosts.host(hostId);
      const settings = await networks.backupTraffic();
      const [verdicts, tls] = await Promise.all([
        networks.backupVerdicts(hostId, options),
        settings.tlsDirectory === undefined
          ? undefined
          : askTls(options).catch((error: unknown): HostTls => ({ missing: describeError(error) })),
      ]);
      options.signal.throwIfAborted();
      return planRoutes({ host, verdicts, settings, tls, names: namesOf(host), now: clock.now() });
    },
    meter(hostId, { signal }) {
      const shell = hosts.shell(hostId);
      const before = counters(shell, signal);
      return {
        async read(options) {
          const [then, now] = await Promise.all([before, counters(shell, options.signal)]);
          const { name: host } = hosts.host(hostId);
          return then && now ? interfaceProofs([{ hostId, host, before: then, after: now }], networks.list()) : [];
        },
      };
    },
  };
}

/** What the admin calls the host, and what it was registered as. */
function namesOf({ name, uri }: { readonly name: string; readonly uri: string }): string[] {
  const hostname = URL.canParse(uri) ? new URL(uri).hostname.replace(/^\[(.*)\]$/, "$1") : "";
  return [...new Set([hostname, name])].filter((text) => text !== "");
}

async function counters(shell: HostShell, signal: AbortSignal): Promise<CounterReading | undefined> {
  try {
    return await readCounters(shell, signal);
  } catch {
    return undefined;
  }
}
