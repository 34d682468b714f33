import { StoreError, type StoreErrorKind } from "../blob-store.ts";
import { isLineError, kindOfStatus } from "../http-errors.ts";

/** What of an error of the SDK tells it apart; any may be missing. */
interface ServiceError {
  readonly name?: string;
  readonly Code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Error codes of S3 whose status says less, or something else, than their name. */
const kinds: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchKey: "not-found",
  NoSuchBucket: "not-found",
  NoSuchVersion: "not-found",
  NotFound: "not-found",
  AccessDenied: "denied",
  ExpiredToken: "denied",
  InvalidToken: "denied",
  CredentialsProviderError: "denied",
  TokenProviderError: "denied",
  RequestTimeout: "unavailable",
  RequestTimeoutException: "unavailable",
  SlowDown: "unavailable",
  Throttling: "unavailable",
  ThrottlingException: "unavailable",
  TooManyRequestsException: "unavailable",
  OperationAborted: "unavailable",
  ConditionalRequestConflict: "unavailable",
  NotImplemented: "unsupported",
  MethodNotAllowed: "unsupported",
  QuotaExceeded: "no-space",
  XMinioStorageFull: "no-space",
};

const waysOut: Readonly<Record<string, string>> = {
  NoSuchBucket: "there is no such bucket: make it first, or mind the region",
  CredentialsProviderError: "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
  InvalidAccessKeyId: "the server does not know the access key",
  SignatureDoesNotMatch: "the secret key does not fit the access key",
  ExpiredToken: "the credentials have expired",
  RequestTimeTooSkewed: "the clock of this machine is wrong",
  PermanentRedirect: "the bucket is in another region: name it with region=",
  AuthorizationHeaderMalformed: "the bucket is in another region: name it with region=",
};

export function statusOf(error: unknown): number | undefined {
  return (error as ServiceError | undefined)?.$metadata?.httpStatusCode;
}

export function codeOfS3(error: unknown): string {
  const { Code, name } = (error ?? {}) as ServiceError;
  return Code ?? name ?? "";
}

/** What a failed call of the SDK means to a store's caller. `what` completes "cannot …". */
export function s3Error(error: unknown, what: string): StoreError {
  const code = codeOfS3(error);
  const status = statusOf(error);
  const kind = kinds[code] ?? (isLineError(error) ? "unavailable" : status === undefined ? "failed" : kindOfStatus(status));
  const reason = waysOut[code] ?? (kind === "denied" ? "the credentials do not allow it" : undefined);
  const said = status === undefined ? "" : ` (${code || "status"} ${status})`;
  return new StoreError(kind, `cannot ${what}${said}${reason === undefined ? "" : `: ${reason}`}`, {}, { cause: error });
}
