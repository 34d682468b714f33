import { X509Certificate } from "node:crypto";
import { EngineError } from "../model/errors.ts";
import type { BackupTrafficSettings, NetworkVerdict } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import type { ExportRoute, HostTls } from "../ports/backup.ts";

/** One way from a host to the server, and why it is at its place. */
export interface BackupRoute {
  readonly kind: ExportRoute["kind"];
  readonly networkId?: string | undefined;
  readonly network?: string | undefined;
  /** The host's and the server's; absent for the SSH session. */
  readonly address?: string | undefined;
  readonly serverAddress?: string | undefined;
  readonly reason: Reason;
}

/** A route with what it takes to use it. */
export interface UsableRoute {
  readonly view: BackupRoute;
  readonly route: ExportRoute;
}

export interface RouteFacts {
  readonly host: { readonly name: string };
  /** Best first, as {@link Networks.backupVerdicts} gives them. */
  readonly verdicts: readonly NetworkVerdict[];
  readonly settings: BackupTrafficSettings;
  /** Names that the host's certificate may be made out to instead of its address. */
  readonly names: readonly string[];
  /** What the host could serve with; absent: nobody asked, as the server has no credentials. */
  readonly tls?: HostTls | undefined;
  /** Milliseconds since 1970: certificates end. */
  readonly now: number;
}

/**
 * Every route that may be used, best first: over the networks in their order, encrypted where both ends can, plain
 * where the admin allowed it, and the SSH session last. Throws `refused` with every reason when there is none.
 */
export function planRoutes(facts: RouteFacts): UsableRoute[] {
  const { host, verdicts, settings } = facts;
  if (verdicts.some(({ reason }) => reason.code === "same-host")) {
    const text = `without any network: the server runs on ${host.name} itself`;
    return [{ route: { kind: "ssh" }, view: { kind: "ssh", reason: { code: "same-host", text } } }];
  }
  const routes: UsableRoute[] = [];
  const passed: string[] = [];
  for (const verdict of verdicts) {
    const judged = overNetwork(verdict, facts);
    if ("route" in judged) routes.push(judged);
    else passed.push(`${verdict.network} ${judged.not}`);
  }
  const why = passed.length > 0 ? passed.join("; ") : "no network is known";
  if (settings.otherwise === "ssh") {
    const text = routes.length > 0 ? "through the SSH session, when no network does it" : `through the SSH session: ${why}`;
    return [...routes, { route: { kind: "ssh" }, view: { kind: "ssh", reason: { code: "ssh", text } } }];
  }
  if (routes.length > 0) return routes;
  const text = `no network may carry the disks of ${host.name}, and the backup-traffic settings refuse the SSH session: ${why}`;
  throw new EngineError("refused", text, { host: host.name });
}

function overNetwork(verdict: NetworkVerdict, facts: RouteFacts): UsableRoute | { readonly not: string } {
  const { networkId, network, destinationAddress: address, sourceAddress: serverAddress, reason } = verdict;
  if (verdict.verdict === "out" || address === undefined) return { not: `is ${reason.text}` };
  const { firstPort, lastPort, unencrypted } = facts.settings;
  const ends = { networkId, network, address, serverAddress };
  const place = { address, firstPort, lastPort };
  const tls = tlsTo(address, facts);
  if ("hostname" in tls) {
    const text = `over ${network} with TLS, ${reason.text}`;
    return { route: { kind: "tls", ...place, tls }, view: { kind: "tls", ...ends, reason: { code: "tls", text } } };
  }
  if (unencrypted.includes(networkId)) {
    const text = `over ${network} unencrypted, as the settings allow there, since ${tls.not}; ${reason.text}`;
    return { route: { kind: "tcp", ...place }, view: { kind: "tcp", ...ends, reason: { code: "unencrypted", text } } };
  }
  return { not: `is not used: ${tls.not}, and unencrypted it is not allowed` };
}

type Tls = NonNullable<Extract<ExportRoute, { kind: "tls" | "tcp" }>["tls"]>;

function tlsTo(address: string, { settings: { tlsDirectory }, tls, names, now }: RouteFacts): Tls | { readonly not: string } {
  if (tlsDirectory === undefined) return { not: "the server was given no TLS credentials" };
  if (!tls) return { not: "the host was not asked for TLS credentials" };
  if ("missing" in tls) return { not: `the host cannot do TLS: ${tls.missing}` };
  const certificate = parsed(tls.certificate);
  if (!certificate) return { not: "the host's certificate cannot be read" };
  if (now > certificate.validToDate.getTime()) return { not: `the host's certificate ended on ${certificate.validTo}` };
  const named = certificate.checkIP(address) === undefined ? names.find((name) => certificate.checkHost(name) !== undefined) : address;
  if (named === undefined) return { not: `the host's certificate is made out to neither ${[address, ...names].join(" nor ")}` };
  return { directory: tlsDirectory, hostname: named, hostDirectory: tls.directory };
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
