import { isLibvirtError } from "../errors.ts";
import { SaslError } from "./errors.ts";
import type { SaslCredentials, SaslExchange } from "./mechanism.ts";
import { Scram, type ScramHash } from "./scram.ts";
import { anonymous, external, plain } from "./simple.ts";

export type SaslMechanismName = "SCRAM-SHA-512" | "SCRAM-SHA-256" | "SCRAM-SHA-1" | "PLAIN" | "EXTERNAL" | "ANONYMOUS";

interface Answer {
  readonly complete: number;
  readonly nil: number;
  readonly data: Uint8Array;
}

/** The daemon's side: libvirt's three calls. `nil` tells "no data" from "empty data". */
export interface SaslCalls {
  authSaslInit(options: { signal?: AbortSignal | undefined }): Promise<string>;
  authSaslStart(args: { mech: string; nil: number; data: Uint8Array }, options: { signal?: AbortSignal | undefined }): Promise<Answer>;
  authSaslStep(args: { nil: number; data: Uint8Array }, options: { signal?: AbortSignal | undefined }): Promise<Answer>;
}

export interface SaslOptions {
  /** Asked for when a mechanism needs them. */
  readonly credentials?: SaslCredentials | (() => Promise<SaslCredentials>) | undefined;
  /** The ones to allow, best first. Default: SCRAM from strong to weak, then PLAIN. EXTERNAL and ANONYMOUS only when named. */
  readonly mechanisms?: readonly SaslMechanismName[] | undefined;
}

const defaults: readonly SaslMechanismName[] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];
const scramHash: Readonly<Record<string, ScramHash>> = { "SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1" };
/** More steps than any mechanism of ours has. */
const MAX_STEPS = 8;

/**
 * Logs in with SASL. Only on a secure channel: over plain TCP libvirt demands that the mechanism encrypts
 * what follows (an SSF of 56), which none of ours does. Throws {@link SaslError}.
 */
export async function authenticateSasl(
  calls: SaslCalls,
  options: SaslOptions & { secure: boolean; signal?: AbortSignal | undefined },
): Promise<void> {
  if (!options.secure) {
    const text =
      "the daemon wants SASL on plain TCP, where libvirt demands a mechanism that encrypts (GSSAPI, DIGEST-MD5); ours do not. Use +tls, +ssh or the Unix socket";
    throw new SaslError("insecure", text);
  }
  const offered = (await calls.authSaslInit(options)).split(/[\s,]+/).filter((name) => name !== "");
  const mechanism = chooseMechanism(offered, options.mechanisms ?? defaults);
  const { exchange, who } = await begin(mechanism, options.credentials);
  try {
    await converse(calls, mechanism, exchange, options.signal);
  } catch (error) {
    if (!isLibvirtError(error, "AUTH_FAILED", "AUTH_CANCELLED")) throw error;
    const way = "check user and password (saslpasswd2 -a libvirt), and sasl_allowed_username_list in libvirtd.conf";
    throw new SaslError("rejected", `the daemon refused ${who} with SASL ${mechanism}; ${way}`, { mechanism }, { cause: error });
  }
}

/** Our best one among those that the daemon offers. */
export function chooseMechanism(offered: readonly string[], allowed: readonly SaslMechanismName[]): SaslMechanismName {
  const chosen = allowed.find((name) => offered.includes(name));
  if (chosen) return chosen;
  const text = `the daemon offers the SASL mechanisms ${offered.map((name) => name.slice(0, 20)).join(", ") || "(none)"}, and we have ${allowed.join(", ")}`;
  throw new SaslError("mechanism", `${text}; add one of ours to mech_list in /etc/sasl2/libvirt.conf`, {
    offered: offered.slice(0, 20),
    allowed,
  });
}

async function begin(mechanism: SaslMechanismName, given: SaslOptions["credentials"]): Promise<{ exchange: SaslExchange; who: string }> {
  if (mechanism === "ANONYMOUS") return { exchange: anonymous(), who: "an anonymous user" };
  if (mechanism === "EXTERNAL") return { exchange: external(), who: "the user of this channel" };
  const credentials = typeof given === "function" ? await given() : given;
  if (!credentials) throw new SaslError("credentials", `the daemon wants a user name and password (SASL ${mechanism}); give credentials`);
  const who = `user ${JSON.stringify(credentials.username)}`;
  return { exchange: mechanism === "PLAIN" ? plain(credentials) : new Scram(scramHash[mechanism]!, credentials), who };
}

async function converse(calls: SaslCalls, mech: SaslMechanismName, exchange: SaslExchange, signal: AbortSignal | undefined): Promise<void> {
  let answer = await calls.authSaslStart({ mech, ...wire(exchange.first()) }, { signal });
  for (let step = 0; ; step += 1) {
    // A last challenge (SCRAM's server signature) may come with "complete" or before it.
    const reply = answer.nil !== 0 && answer.complete !== 0 ? null : await finish(exchange, answer);
    if (answer.complete !== 0) break;
    if (step === MAX_STEPS) throw new SaslError("protocol", `the server does not come to an end of SASL ${mech}; it is broken or hostile`);
    answer = await calls.authSaslStep(wire(reply), { signal });
  }
  if (!exchange.satisfied)
    throw new SaslError("server", `the server claims success before it proved its identity with SASL ${mech}; find out who answers there`);
}

async function finish(exchange: SaslExchange, { complete, data }: Answer): Promise<Uint8Array | null> {
  if (complete !== 0 && data.length === 0) return null;
  return exchange.next(data);
}

function wire(data: Uint8Array | null): { nil: number; data: Uint8Array } {
  return { nil: data === null ? 1 : 0, data: data ?? new Uint8Array() };
}
