import { StoreError, type StoreErrorKind } from "../blob-store.ts";
import { isLineError, kindOfStatus } from "../http-errors.ts";

/** What of a `RestError` tells it apart; any may be missing. */
interface RestError {
  readonly statusCode?: number;
  readonly code?: string;
  readonly details?: { readonly errorCode?: string };
}

/** Error codes of the Blob service whose status says less, or something else, than their name. */
const kinds: Readonly<Record<string, StoreErrorKind>> = {
  BlobImmutableDueToPolicy: "retained",
  BlobNotFound: "not-found",
  ContainerNotFound: "not-found",
  ResourceNotFound: "not-found",
  ContainerDisabled: "denied",
  PublicAccessNotPermitted: "denied",
  AccountIsDisabled: "denied",
  ContainerBeingDeleted: "unavailable",
  AccountBeingCreated: "unavailable",
  OperationTimedOut: "unavailable",
  ServerBusy: "unavailable",
  UnsupportedHeader: "unsupported",
  FeatureVersionMismatch: "unsupported",
  ImmutableStorageWithVersioningNotEnabled: "unsupported",
};

const waysOut: Readonly<Record<string, string>> = {
  ContainerNotFound: "there is no such container: make it first",
  AuthenticationFailed: "the key or the shared access signature is wrong or has expired, or this machine's clock is wrong",
  AuthorizationPermissionMismatch: "the credentials do not allow it",
  AuthorizationFailure: "the credentials, or the account's firewall, do not allow it",
};

export function statusOfAzure(error: unknown): number | undefined {
  return (error as RestError | undefined)?.statusCode;
}

export function codeOfAzure(error: unknown): string {
  const { details, code } = (error ?? {}) as RestError;
  return details?.errorCode ?? code ?? "";
}

/** What a failed call of the SDK means to a store's caller. `what` completes "cannot …". */
export function azureError(error: unknown, what: string): StoreError {
  const code = codeOfAzure(error);
  const status = statusOfAzure(error);
  const kind = kinds[code] ?? (status === undefined ? (isLineError(error) ? "unavailable" : "failed") : kindOfAzureStatus(status));
  const said = status === undefined ? "" : ` (${code || "status"} ${status})`;
  const reason = waysOut[code];
  return new StoreError(kind, `cannot ${what}${said}${reason === undefined ? "" : `: ${reason}`}`, {}, { cause: withoutRequest(error) });
}

/** A conflict of this service does not pass by itself, unless its code is in the table. */
function kindOfAzureStatus(status: number): StoreErrorKind {
  return status === 409 ? "failed" : kindOfStatus(status);
}

/** The SDK's errors carry the request, whose URL may hold a shared access signature. */
function withoutRequest(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const told = new Error(error.message.split("\n")[0]?.replace(/([?&]sig=)[^&\s]*/g, "$1…"));
  told.name = error.name;
  return told;
}
