import { GodwitError } from "@godwit/core";

/**
 * - `files`: certificate or key files are missing or cannot be used
 * - `connect`: the server was not reached
 * - `untrusted`: no CA of ours vouches for the server's certificate
 * - `expired`: the server's certificate is not valid at this time
 * - `name`: the server's certificate is for another host
 * - `refused`: the server does not accept our certificate, or wants one
 * - `handshake`: TLS itself failed
 * - `timeout`
 */
export type TlsErrorKind = "files" | "connect" | "untrusted" | "expired" | "name" | "refused" | "handshake" | "timeout";

export class TlsError extends GodwitError<TlsErrorKind> {
  override readonly name = "TlsError";
}
