import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";

/** One line of a known_hosts file (format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export interface KnownHostsLine {
  readonly marker: "cert-authority" | "revoked" | undefined;
  /** The first field: patterns, or one hashed name. */
  readonly hosts: string;
  readonly type: string;
  readonly key: Buffer;
  readonly file: string;
  readonly line: number;
}

export type HostKeyVerdict =
  | { readonly kind: "known"; readonly line: KnownHostsLine }
  | { readonly kind: "unknown"; readonly authorities: readonly KnownHostsLine[] }
  | { readonly kind: "changed"; readonly lines: readonly KnownHostsLine[] }
  | { readonly kind: "revoked"; readonly line: KnownHostsLine };

const MAX_FILE_BYTES = 32 << 20;

/** Reads one file's text. Lines that OpenSSH would not understand are passed over, as it does. */
export function parseKnownHosts(text: string, file: string): readonly KnownHostsLine[] {
  return text.split("\n").flatMap((raw, index) => {
    const fields = raw.trim().split(/[ \t]+/);
    if (fields[0] === "" || fields[0]!.startsWith("#")) return [];
    const marked = fields[0]!.startsWith("@") ? fields.shift() : undefined;
    const marker = marked === "@cert-authority" ? "cert-authority" : marked === "@revoked" ? "revoked" : undefined;
    const [hosts, type, encoded] = fields;
    if ((marked !== undefined && marker === undefined) || !hosts || !type || !encoded) return [];
    const key = Buffer.from(encoded, "base64");
    return keyType(key) === type ? [{ marker, hosts, type, key, file, line: index + 1 } as const] : [];
  });
}

/** What the lines of some known_hosts files say about hosts. */
export class KnownHosts {
  readonly files: readonly string[];
  readonly #lines: readonly KnownHostsLine[];

  constructor(files: readonly string[], lines: readonly KnownHostsLine[]) {
    this.files = files;
    this.#lines = lines;
  }

  /** Files that do not exist count as empty. */
  static async read(files: readonly string[]): Promise<KnownHosts> {
    const lines = await Promise.all(files.map(async (file) => parseKnownHosts(await readIfThere(file), file)));
    return new KnownHosts(files, lines.flat());
  }

  /**
   * Judges the key that `host` showed. A host on another port than 22 is `[host]:port`; as OpenSSH does,
   * the key of the plain `host` is good for its other ports too.
   */
  check(host: string, port: number, key: Buffer): HostKeyVerdict {
    const revoked = this.#lines.find((line) => line.marker === "revoked" && line.key.equals(key) && this.#names(line, host, port));
    if (revoked) return { kind: "revoked", line: revoked };
    const exact = this.#keysOf(hostName(host, port));
    const known = [...exact, ...this.#keysOf(hostName(host, 22))].find((line) => line.key.equals(key));
    if (known) return { kind: "known", line: known };
    if (exact.length > 0) return { kind: "changed", lines: exact };
    const authorities = this.#lines.filter((line) => line.marker === "cert-authority" && this.#names(line, host, port));
    return { kind: "unknown", authorities };
  }

  /** The key types that are known for the host: those to ask the server for. */
  keyTypes(host: string, port: number): readonly string[] {
    const exact = this.#keysOf(hostName(host, port));
    const lines = exact.length > 0 ? exact : this.#keysOf(hostName(host, 22));
    return [...new Set(lines.map((line) => line.type))];
  }

  #keysOf(name: string): readonly KnownHostsLine[] {
    return this.#lines.filter((line) => line.marker === undefined && matchesHosts(line.hosts, name));
  }

  #names(line: KnownHostsLine, host: string, port: number): boolean {
    return matchesHosts(line.hosts, hostName(host, port)) || matchesHosts(line.hosts, hostName(host, 22));
  }
}

/** How known_hosts writes a host. */
export function hostName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
}

/** `SHA256:…` as every SSH tool prints it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type that a public key blob (RFC 4253, 6.6) begins with; empty when it is none. */
export function keyType(key: Buffer): string {
  if (key.length < 4) return "";
  const length = key.readUInt32BE(0);
  return length > 64 || 4 + length > key.length ? "" : key.toString("latin1", 4, 4 + length);
}

/** Comma-separated patterns with `*`, `?` and `!`, or one hashed name. */
export function matchesHosts(hosts: string, name: string): boolean {
  if (hosts.startsWith("|")) return matchesHash(hosts, name);
  return matchesPatterns(hosts.toLowerCase().split(","), name);
}

/** A negated pattern that matches beats all others (ssh_config(5), PATTERNS). */
export function matchesPatterns(patterns: readonly string[], name: string): boolean {
  const matching = patterns.filter((pattern) => matchesGlob(pattern.replace(/^!/, ""), name));
  return matching.length > 0 && !matching.some((pattern) => pattern.startsWith("!"));
}

/** Iterative, so that a hostile pattern costs at most pattern × name. */
function matchesGlob(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let retry = 0;
  let p = 0;
  while (at < name.length) {
    if (p < pattern.length && (pattern[p] === "?" || (pattern[p] === name[at] && pattern[p] !== "*"))) {
      p += 1;
      at += 1;
    } else if (pattern[p] === "*") {
      star = p;
      p += 1;
      retry = at;
    } else if (star >= 0) {
      p = star + 1;
      retry += 1;
      at = retry;
    } else return false;
  }
  while (pattern[p] === "*") p += 1;
  return p === pattern.length;
}

/** `|1|salt|HMAC-SHA1(salt, name)`, both in base64. */
function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split("|");
  if (version !== "1" || !salt || !hash) return false;
  const expected = Buffer.from(hash, "base64");
  const actual = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

async function readIfThere(file: string): Promise<string> {
  try {
    const text = await readFile(file);
    return text.length > MAX_FILE_BYTES ? "" : text.toString("utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    throw error;
  }
}
