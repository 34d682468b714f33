import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ConnectionOptions, SecureContextOptions, TlsOptions } from "node:tls";
import { toError } from "@godwit/core";
import { NbdError } from "./error.ts";
import type { NbdTarget } from "./uri.ts";

/** A pre-shared key, as `psktool` makes them. */
export interface NbdPsk {
  readonly identity: string;
  readonly key: Uint8Array;
}

/** Credentials of either side. Certificates and keys are PEM texts. */
export interface NbdCredentials {
  /** Whom to trust. A server with a `ca` demands a certificate of every client. */
  readonly ca?: string | Uint8Array;
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** Instead of certificates. Client: our key. Server: all keys that are accepted. */
  readonly psk?: NbdPsk | readonly NbdPsk[];
}

export interface NbdTlsOptions extends NbdCredentials {
  /** The name that the server's certificate must carry. Default: the host, or `localhost` for a Unix socket. */
  readonly hostname?: string;
  /** `false` accepts any certificate. Default: true. */
  readonly verifyPeer?: boolean;
}

/** NBD asks for 1.2 or later (proto.md, "TLS versions"). */
const MIN_VERSION = "TLSv1.2" as const;
const PSK_CIPHERS = "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES128-GCM-SHA256:@SECLEVEL=1";

/** What `tls.connect` needs, besides the socket. */
export function clientTls(target: NbdTarget, given: NbdTlsOptions): ConnectionOptions {
  const hostname = given.hostname ?? target.tls.hostname ?? ("host" in target.address ? target.address.host : "localhost");
  if (given.psk) {
    const [psk] = pskList(given.psk);
    return {
      ...pskVersion,
      checkServerIdentity: () => undefined,
      pskCallback: () => (psk ? { psk: psk.key, identity: psk.identity } : null),
    };
  }
  return {
    minVersion: MIN_VERSION,
    ...material(given),
    host: hostname,
    // An address is no server name (RFC 6066); the certificate is checked against it all the same.
    ...(/^[\d.]+$|:/.test(hostname) ? {} : { servername: hostname }),
    rejectUnauthorized: given.verifyPeer ?? target.tls.verifyPeer ?? true,
  };
}

/** What `tls.createServer` needs. */
export function serverTls(given: NbdCredentials): TlsOptions {
  if (given.psk) {
    const keys = new Map(pskList(given.psk).map((psk) => [psk.identity, psk.key]));
    return { ...pskVersion, pskCallback: (_socket, identity) => keys.get(identity) ?? null };
  }
  const demand = given.ca !== undefined;
  return { minVersion: MIN_VERSION, ...material(given), requestCert: demand, rejectUnauthorized: demand };
}

function pskList(psk: NbdPsk | readonly NbdPsk[]): readonly NbdPsk[] {
  return "identity" in psk ? [psk] : psk;
}

// Node hands keys to OpenSSL through an interface of TLS 1.2.
const pskVersion = { minVersion: MIN_VERSION, maxVersion: MIN_VERSION, ciphers: PSK_CIPHERS };

function material({ ca, cert, key }: NbdCredentials): SecureContextOptions {
  const pem = (text: string | Uint8Array): string | Buffer => (typeof text === "string" ? text : Buffer.from(text));
  return {
    ...(ca === undefined ? {} : { ca: pem(ca) }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) }),
  };
}

/**
 * The credentials in a directory laid out as QEMU, libvirt and nbdkit do: `ca-cert.pem`, and
 * `client-cert.pem`, `client-key.pem` or `server-cert.pem`, `server-key.pem`; what is missing is left out.
 */
export async function loadTlsDirectory(directory: string, side: "client" | "server"): Promise<NbdCredentials> {
  const [ca, cert, key] = await Promise.all(
    ["ca-cert.pem", `${side}-cert.pem`, `${side}-key.pem`].map(async (name) => {
      try {
        return await readFile(join(directory, name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw tlsError(`cannot read ${join(directory, name)}`, error);
      }
    }),
  );
  if (!ca && !cert) throw tlsError(`${directory} has neither ca-cert.pem nor ${side}-cert.pem`);
  return { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
}

/** The keys in a file of `identity:hex` lines. */
export async function loadPskFile(path: string): Promise<readonly NbdPsk[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw tlsError(`cannot read ${path}`, error);
  }
  const keys = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  return keys.map((line, index) => {
    const match = /^([^:]+):((?:[0-9a-fA-F]{2})+)$/.exec(line.trim());
    if (!match) throw tlsError(`line ${index + 1} of ${path} is not identity:hexadecimal-key`);
    return { identity: match[1]!, key: Buffer.from(match[2]!, "hex") };
  });
}

/** The credentials that a target's URI names, under what the caller gives. */
export async function resolveClientTls(target: NbdTarget, given: NbdTlsOptions | undefined): Promise<NbdTlsOptions | undefined> {
  const { certificates, pskFile, username } = target.tls;
  if (certificates !== undefined) return { ...(await loadTlsDirectory(certificates, "client")), ...given };
  if (pskFile !== undefined) {
    const keys = await loadPskFile(pskFile);
    const psk = username === undefined ? keys[0] : keys.find((key) => key.identity === username);
    if (!psk) throw tlsError(`${pskFile} has no key${username === undefined ? "" : ` for ${username}`}`);
    return { psk, ...given };
  }
  return given ?? (target.requireTls ? {} : undefined);
}

export function tlsError(message: string, cause?: unknown): NbdError {
  return new NbdError("unsupported", message, { reason: "tls" }, cause === undefined ? {} : { cause: toError(cause) });
}
