import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { SshError } from "./errors.ts";
import { fingerprint, hostName, KnownHosts, type KnownHostsLine, keyType } from "./known-hosts.ts";
import { shellQuote } from "./quote.ts";
import type { SshTarget } from "./target.ts";

/** A key that a host showed, for somebody to judge. */
export interface HostKey {
  readonly host: string;
  readonly port: number;
  readonly type: string;
  /** `SHA256:…` */
  readonly fingerprint: string;
  /** What to append to a known_hosts file in order to trust it. */
  readonly knownHostsLine: string;
}

export function describeHostKey(target: Pick<SshTarget, "knownAs" | "port">, key: Buffer): HostKey {
  const { knownAs: host, port } = target;
  const type = keyType(key);
  return { host, port, type, fingerprint: fingerprint(key), knownHostsLine: `${hostName(host, port)} ${type} ${key.toString("base64")}` };
}

// ssh-rsa (SHA-1 signatures) is left out: OpenSSH refuses it since 8.8.
const algorithms: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

/** Decides about one host's key by the target's policy. */
export class HostKeyVerifier {
  readonly #target: SshTarget;
  readonly #known: KnownHosts;
  #accepted: Buffer | undefined;
  /** Why the key was refused. */
  refusal: SshError | undefined;

  private constructor(target: SshTarget, known: KnownHosts) {
    this.#target = target;
    this.#known = known;
  }

  static async create(target: SshTarget): Promise<HostKeyVerifier> {
    return new HostKeyVerifier(target, await KnownHosts.read(target.hostKeys ? [] : target.knownHostsFiles));
  }

  /** What to ask the server for: the types that are known for it first, so that a second key type is no surprise. */
  get algorithms(): string[] {
    const known = this.#known.keyTypes(this.#target.knownAs, this.#target.port);
    return [...new Set([...known, ...Object.keys(algorithms)])].flatMap((type) => algorithms[type] ?? []);
  }

  /** The key that was verified. */
  get accepted(): Buffer | undefined {
    return this.#accepted;
  }

  /** True when the key may be used; otherwise `refusal` says why not. */
  verify(key: Buffer): boolean {
    // The key is shown again at every rekeying.
    if (this.#accepted?.equals(key)) return true;
    this.refusal = this.#judge(key);
    if (!this.refusal) this.#accepted = Buffer.from(key);
    return this.refusal === undefined;
  }

  #judge(key: Buffer): SshError | undefined {
    const { hostKeys, hostKeyPolicy, knownAs, port } = this.#target;
    if (hostKeys) return hostKeys.includes(fingerprint(key)) ? undefined : this.#notPinned(key, hostKeys);
    if (hostKeyPolicy === "ignore") return undefined;
    const verdict = this.#known.check(knownAs, port, key);
    switch (verdict.kind) {
      case "known":
        return undefined;
      case "revoked":
        return this.#error("host-key-revoked", key, `is revoked at ${place(verdict.line)}; the host needs a new key`);
      case "changed":
        return this.#changed(key, verdict.lines);
      case "unknown":
        return hostKeyPolicy === "accept-new" ? this.#remember(key) : this.#unknown(key, verdict.authorities);
    }
    return undefined;
  }

  #unknown(key: Buffer, authorities: readonly KnownHostsLine[]): SshError {
    const { knownAs, port } = this.#target;
    const file = this.#known.files[0] ?? "a known_hosts file";
    const scan = `ssh-keyscan -p ${port} -t ${scanType(keyType(key))} ${shellQuote(knownAs)} >> ${shellQuote(file)}`;
    const byAuthority =
      authorities.length > 0
        ? ` (${place(authorities[0]!)} trusts a certificate authority for it, but we do not check host certificates)`
        : "";
    const way = `compare the fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*.pub there), then accept it: ${scan}`;
    return this.#error("host-key-unknown", key, `is in none of ${this.#known.files.join(", ") || "no files"}${byAuthority}; ${way}`);
  }

  #changed(key: Buffer, lines: readonly KnownHostsLine[]): SshError {
    const { knownAs, port } = this.#target;
    const known = lines.map((line) => `${line.type} ${fingerprint(line.key)} at ${place(line)}`).join(", ");
    const remove = `ssh-keygen -R ${shellQuote(hostName(knownAs, port))} -f ${shellQuote(lines[0]!.file)}`;
    const text = `is not the known one (${known}): somebody may be in between. If the host really got a new key, forget the old one: ${remove}`;
    return this.#error("host-key-changed", key, text);
  }

  #notPinned(key: Buffer, pins: readonly string[]): SshError {
    const text = `is not the expected one (${pins.join(", ")}): somebody may be in between. If the host really got a new key, change the expected fingerprint`;
    return this.#error("host-key-changed", key, text);
  }

  #error(kind: "host-key-unknown" | "host-key-changed" | "host-key-revoked", key: Buffer, text: string): SshError {
    const { host, port, type, fingerprint } = describeHostKey(this.#target, key);
    return new SshError(kind, `the key of SSH host ${hostName(host, port)}, ${type} ${fingerprint}, ${text}`, {
      host,
      port,
      type,
      fingerprint,
    });
  }

  #remember(key: Buffer): SshError | undefined {
    const file = this.#known.files[0];
    if (file === undefined) return new SshError("config", "accept-new needs a known_hosts file to remember the key in; name one");
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      appendFileSync(file, `${describeHostKey(this.#target, key).knownHostsLine}\n`, { mode: 0o600 });
      return undefined;
    } catch (error) {
      return new SshError(
        "config",
        `the new host key cannot be written to ${file}; make it writable or use strict`,
        { file },
        { cause: error },
      );
    }
  }
}

function place({ file, line }: KnownHostsLine): string {
  return `${file}:${line}`;
}

function scanType(type: string): string {
  return type.startsWith("ecdsa") ? "ecdsa" : type === "ssh-ed25519" ? "ed25519" : "rsa";
}
