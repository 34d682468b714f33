import { isIP } from "node:net";
import { checkServerIdentity, connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { abortReason, withDeadline } from "@godwit/core";
import { type Environment, type LibvirtUri, systemEnvironment, UriError } from "../uri/index.ts";
import { readCredentials, type TlsCredentials } from "./tls-credentials.ts";
import { TlsError, type TlsErrorKind } from "./tls-error.ts";
import { tlsVersions } from "./tls-priority.ts";
import type { Transport } from "./transport.ts";

export { type TlsCredentials } from "./tls-credentials.ts";
export { TlsError, type TlsErrorKind } from "./tls-error.ts";

export interface TlsOptions {
  /** Instead of libvirt's files. */
  readonly credentials?: TlsCredentials | undefined;
  /** The name that the server's certificate must be for, when it is not the URI's host. */
  readonly serverName?: string | undefined;
  /** Lets a URI's `no_verify=1` take effect: anybody on the way can then take the server's place. */
  readonly allowNoVerify?: boolean | undefined;
}

export interface OpenTlsOptions {
  readonly tls?: TlsOptions | undefined;
  readonly env?: Environment | undefined;
  readonly connectTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_PORT = 16_514;

/**
 * A TLS channel to libvirtd or virtproxyd whose certificate was verified, and on which the daemon has
 * confirmed that it accepts ours. Throws {@link TlsError}.
 */
export async function openTlsTransport(uri: LibvirtUri, options: OpenTlsOptions): Promise<Transport> {
  const { connection, host = "localhost", port = DEFAULT_PORT } = uri;
  const { tls = {}, connectTimeoutMs: ms, env = systemEnvironment() } = options;
  if (connection.noVerify && !tls.allowNoVerify) {
    throw new UriError("insecure", "?no_verify", "would accept any server; remove it, or allow it with the option tls.allowNoVerify");
  }
  const where = `tls://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const secrets = tls.credentials ? checked(tls.credentials) : await readCredentials(connection.pkipath, env);
  const name = tls.serverName ?? host;
  const late = (): TlsError =>
    new TlsError("timeout", `${where} did not answer within ${ms} ms; check that the daemon listens there with TLS`, { host, port });
  const socket = await withDeadline(ms, late, options.signal, (signal) =>
    shake(
      { ...secrets, ...tlsVersions(connection.tlsPriority), host, port, ...identity(name), rejectUnauthorized: !connection.noVerify },
      where,
      signal,
    ),
  );
  return {
    stream: socket,
    description: where,
    secure: true,
    close: () => closeSocket(socket),
    [Symbol.asyncDispose]: () => closeSocket(socket),
  };
}

function checked(credentials: TlsCredentials): ConnectionOptions {
  const text = (pem: string | Uint8Array): string | Buffer => (typeof pem === "string" ? pem : Buffer.from(pem));
  const { ca, cert, key, passphrase } = credentials;
  if ((cert === undefined) !== (key === undefined)) {
    throw new TlsError("files", "tls.credentials has a client certificate or a key but not both; give both or none");
  }
  return {
    ca: text(ca),
    ...(cert !== undefined && { cert: text(cert) }),
    ...(key !== undefined && { key: text(key) }),
    ...(passphrase !== undefined && { passphrase }),
  };
}

/** SNI takes no addresses; the certificate is checked against the address then. */
function identity(name: string): Pick<ConnectionOptions, "servername" | "checkServerIdentity"> {
  return {
    servername: isIP(name) ? "" : name,
    checkServerIdentity: (_servername, certificate) => checkServerIdentity(name, certificate),
  };
}

async function shake(options: ConnectionOptions, where: string, signal: AbortSignal): Promise<TLSSocket> {
  signal.throwIfAborted();
  let socket: TLSSocket;
  try {
    socket = connect({ ...options });
  } catch (error) {
    throw new TlsError(
      "files",
      `${where}: certificate or key cannot be used; check that they are PEM and belong together`,
      {},
      { cause: error },
    );
  }
  const stop = (): void => void socket.destroy(abortReason(signal));
  signal.addEventListener("abort", stop, { once: true });
  try {
    await confirmed(socket, where);
    return socket;
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? abortReason(signal) : error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** After the handshake libvirt's server checks our certificate and then sends one byte 1 (virnetserverclient.c), or hangs up. */
function confirmed(socket: TLSSocket, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let secured = false;
    const settle = (error?: TlsError): void => {
      for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
      socket.on("error", () => undefined);
      if (error) reject(error);
      else resolve();
    };
    const refused = (cause?: Error): TlsError => {
      const way = "check our certificate's CA, dates and the daemon's tls_allowed_dn_list; its log says why";
      return new TlsError("refused", `${where} does not accept our certificate, or wants one; ${way}`, {}, cause && { cause });
    };
    const listeners = {
      secureConnect: (): void => void (secured = true),
      readable: (): void => {
        const byte = socket.read(1) as Buffer | null;
        if (byte)
          settle(
            byte[0] === 1
              ? undefined
              : new TlsError("handshake", `${where} answered with ${byte[0]} instead of 1; this is not libvirt's TLS port`),
          );
      },
      end: (): void =>
        settle(
          secured ? refused() : new TlsError("handshake", `${where} hung up during the handshake; check that this is libvirt's TLS port`),
        ),
      error: (error: Error): void => settle(secured || isAlert(error) ? refused(error) : failure(error, where)),
    };
    for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
  });
}

function isAlert(error: NodeJS.ErrnoException): boolean {
  return /ALERT_(BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)/.test(error.code ?? "");
}

const certificateErrors: Readonly<Record<string, TlsErrorKind>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
  CERT_SIGNATURE_FAILURE: "untrusted",
  CERT_UNTRUSTED: "untrusted",
  CERT_REVOKED: "untrusted",
  INVALID_CA: "untrusted",
  INVALID_PURPOSE: "untrusted",
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "name",
};

const waysOut: Readonly<Record<TlsErrorKind, string>> = {
  files: "check the files",
  connect: "was not reached; check that the daemon listens there (libvirtd --listen, or virtproxyd-tls.socket)",
  untrusted: "shows a certificate that our CA does not vouch for; use the CA that signed it (cacert.pem), or ?pkipath=",
  expired: "shows a certificate that is not valid now; renew it, or correct the clock",
  name: "shows a certificate for another host; use a name that it contains, or the option tls.serverName",
  refused: "does not accept us",
  handshake: "cannot agree with us on TLS; check that this is libvirt's TLS port, with TLS 1.2 or later",
  timeout: "did not answer",
};

function failure(error: NodeJS.ErrnoException, where: string): TlsError {
  const kind =
    certificateErrors[error.code ?? ""] ?? (error.syscall === undefined || error.code === "ECONNRESET" ? "handshake" : "connect");
  return new TlsError(kind, `${where} ${waysOut[kind]}`, {}, { cause: error });
}

/** Resolves when the socket is gone; does not wait for a peer that may be dead. */
function closeSocket(socket: TLSSocket): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.destroy();
  });
}
