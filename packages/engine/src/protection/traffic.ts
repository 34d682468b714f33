import { canonicalJson, type Clock, describeError } from "@godwit/core";
import type { InterfaceProof } from "../migration/model.ts";
import { interfaceProofs } from "../migration/proof.ts";
import type { Networks } from "../network/index.ts";
import { type CounterReading, readCounters } from "../network/index.ts";
import type { HostTls } from "../ports/backup.ts";
import type { HostShell } from "../ports/shell.ts";
import { type BackupRoute, planRoutes, type UsableRoute } from "./routes.ts";
import type { ProtectionHosts } from "./service.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** Where what captures read and recoveries write goes, and what went there. */
export interface BackupTraffic {
  /** Best first; never empty. Throws `refused`. `tls` is asked only where it matters. */
  routes(hostId: string, tls: (options: Cancellable) => Promise<HostTls>, options: Cancellable): Promise<UsableRoute[]>;
  /** That a route was lost, and why: it is left alone for some minutes where there is another. */
  lost(hostId: string, route: BackupRoute, why: string): void;
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
  lost: () => undefined,
  meter: () => ({ read: async () => [] }),
};

interface Lost {
  readonly why: string;
  readonly at: number;
  readonly time: string;
}

/** A network that a firewall closes would cost every capture a second freeze of its guest. */
const leaveAloneMs = 10 * 60_000;

/** By the networks that there are and what the admin decided. */
export function networkTraffic({ hosts, networks, clock }: BackupTrafficOptions): BackupTraffic {
  const lost = new Map<string, Lost>();
  let decided = "";
  return {
    lost(hostId, { networkId = "" }, why) {
      lost.set(`${hostId} ${networkId}`, { why, at: clock.monotonic(), time: new Date(clock.now()).toISOString().slice(11, 19) });
    },
    async routes(hostId, askTls, options) {
      const host = hosts.host(hostId);
      const settings = await networks.backupTraffic();
      // Who changed them wants it to be tried.
      if (decided !== canonicalJson(settings)) lost.clear();
      decided = canonicalJson(settings);
      const [verdicts, tls] = await Promise.all([
        networks.backupVerdicts(hostId, options),
        settings.tlsDirectory === undefined
          ? undefined
          : askTls(options).catch((error: unknown): HostTls => ({ missing: describeError(error) })),
      ]);
      options.signal.throwIfAborted();
      const facts = { host, settings, tls, names: namesOf(host), now: clock.now() };
      const trusted = verdicts.map((verdict) => {
        const gone = lost.get(`${hostId} ${verdict.networkId}`);
        if (verdict.verdict === "out" || !gone || clock.monotonic() - gone.at > leaveAloneMs) return verdict;
        return {
          ...verdict,
          verdict: "out" as const,
          reason: { code: "lost", text: `left alone for a while: at ${gone.time} UTC ${gone.why}` },
        };
      });
      const others = trusted.some(({ verdict }) => verdict !== "out") || settings.otherwise === "ssh";
      return planRoutes({ ...facts, verdicts: others ? trusted : verdicts });
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
