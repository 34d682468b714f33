import { GodwitError } from "@godwit/core";
import { ErrorCode, ErrorDomain } from "./constants/error.ts";

/**
 * - `libvirt`: the daemon carried the call out and it failed: see `code`
 * - `connection-lost`: the daemon or the way to it is gone; whether a pending call had an effect is unknown
 * - `closed`: the connection was closed on this side
 * - `protocol`: the peer sent what the protocol does not allow
 * - `timeout`: opening the connection took too long
 * - `auth`: no way to authenticate that both sides accept, or it was refused
 * - `invalid-argument`: a value that the wire type does not have; nothing was sent
 */
export type LibvirtErrorKind = "libvirt" | "connection-lost" | "closed" | "protocol" | "timeout" | "auth" | "invalid-argument";

/** A name of {@link ErrorCode}, such as `NO_DOMAIN`. */
export type ErrorCodeName = keyof typeof ErrorCode;

/** What libvirt says of a failed call; its virError. */
export interface RemoteFailure {
  /** One of {@link ErrorCode}, or a newer daemon's. */
  readonly code: number;
  /** One of {@link ErrorDomain}, or a newer daemon's. */
  readonly domain: number;
  /** One of `ErrorLevel`. */
  readonly level: number;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly str3: string | null;
  readonly int1: number;
  readonly int2: number;
}

const codeNames = new Map<number, string>(Object.entries(ErrorCode).map(([name, value]) => [value, name]));
const domainNames = new Map<number, string>(Object.entries(ErrorDomain).map(([name, value]) => [value, name]));

/**
 * Every error of this package's RPC. Match on `kind`, and for `libvirt` on `codeName` or `code`.
 * `context` names the procedure and, for `libvirt`, the code and domain.
 */
export class LibvirtError extends GodwitError<LibvirtErrorKind> {
  override readonly name = "LibvirtError";
  /** Set when `kind` is `libvirt`. */
  readonly remote: RemoteFailure | undefined;

  constructor(
    kind: LibvirtErrorKind,
    message: string,
    context: GodwitError["context"] = {},
    options: ErrorOptions & { remote?: RemoteFailure } = {},
  ) {
    super(kind, message, context, options);
    this.remote = options.remote;
  }

  /** libvirt's number, when the daemon answered with an error. */
  get code(): number | undefined {
    return this.remote?.code;
  }

  /** The name of {@link code}; undefined for a code that is newer than this package. */
  get codeName(): ErrorCodeName | undefined {
    return this.remote && (codeNames.get(this.remote.code) as ErrorCodeName | undefined);
  }

  /** The part of libvirt that failed, such as `QEMU`. */
  get domainName(): keyof typeof ErrorDomain | undefined {
    return this.remote && (domainNames.get(this.remote.domain) as keyof typeof ErrorDomain | undefined);
  }
}

/** The error of an answer; `procedure` is the name of the call. */
export function remoteError(procedure: string, reply: RemoteFailure & { readonly message: string | null }): LibvirtError {
  const { code, domain, level, str1, str2, str3, int1, int2 } = reply;
  const codeName = codeNames.get(code) ?? String(code);
  return new LibvirtError(
    "libvirt",
    reply.message ?? `${procedure} failed without a message (${codeName})`,
    { procedure, code: codeName, domain: domainNames.get(domain) ?? String(domain) },
    { remote: { code, domain, level, str1, str2, str3, int1, int2 } },
  );
}

/** True for libvirt's own error with one of these codes: `isLibvirtError(error, "NO_DOMAIN")`. */
export function isLibvirtError(error: unknown, ...codes: readonly ErrorCodeName[]): error is LibvirtError {
  return (
    error instanceof LibvirtError &&
    error.kind === "libvirt" &&
    (codes.length === 0 || codes.some((code) => ErrorCode[code] === error.code))
  );
}
