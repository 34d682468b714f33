import { GodwitError } from "@godwit/core";

/**
 * Where a vault's objects live: a flat set of named, immutable byte strings. Everything the vault writes
 * is created once under a name that nobody else uses and is never changed, so a store needs no rename, no
 * append, no overwrite and no lock of its own.
 *
 * A store belongs to one thread; its calls may overlap freely (the vault keeps up to about 64 in flight).
 * A name is `[a-z0-9]+` segments joined by `/`, at most 200 characters; `a/b` and `a` never both exist.
 *
 * Errors are {@link StoreError}s. After `signal` fires a call rejects with `signal.reason`, and what it
 * was doing has happened whole or not at all.
 */
export interface BlobStore extends AsyncDisposable {
  /** For people and logs: `/srv/vault`, `s3://bucket/prefix`. Holds no secret. */
  readonly location: string;
  /** Whether {@link PutOptions.retainUntil} and {@link BlobStore.extendRetention} are enforced by the storage itself. */
  readonly enforcesRetention: boolean;

  /**
   * Creates an object out of `parts`, one after the other; they must not change until the promise settles.
   * Resolves only when the object and its name survive a power cut. Nobody ever sees part of an object.
   * Never overwrites: `exists` when the name was taken (also by an earlier attempt of this very call whose
   * answer was lost), and then the old bytes stand.
   */
  put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists">;

  /** The whole object. Throws kind `too-large`, having read nothing much, when it is longer than `maxBytes`. */
  get(name: string, options: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array>;

  /**
   * Fills `into` from `offset` on and resolves to the bytes read: fewer than `into.length` only where the
   * object ends, 0 at or past its end. Throws kind `not-found` when there is no such object.
   */
  read(name: string, offset: number, into: Uint8Array, options: { readonly signal: AbortSignal }): Promise<number>;

  /**
   * Where the object is as a file of this machine that any thread may read as it likes, for stores that are files. Says
   * nothing about whether it is there.
   */
  pathOf?(name: string): string;

  /** Undefined when there is no such object. */
  stat(name: string, options: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined>;

  /**
   * Every object whose name starts with `prefix` (empty, or whole segments with a closing `/`), ascending
   * by the bytes of its name, each once; those after `after` only, where given. Streams: memory does not
   * grow with the number of objects (a local store may hold one directory's names). An object created or
   * deleted meanwhile may or may not be seen; every other one is. A prefix without objects lists nothing.
   */
  list(prefix: string, options: { readonly signal: AbortSignal; readonly after?: string }): AsyncIterable<BlobInfo>;

  /**
   * Removes an object; no error when it is not there. Throws kind `retained` while the storage's own lock
   * forbids it.
   */
  delete(name: string, options: { readonly signal: AbortSignal }): Promise<void>;

  /**
   * Forbids deleting the object before `until` (ms since the epoch), by the storage's own means. Only ever
   * extends: an earlier date than the present one changes nothing. Throws `unsupported` where
   * {@link BlobStore.enforcesRetention} is false.
   */
  extendRetention(name: string, until: number, options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface PutOptions {
  readonly signal: AbortSignal;
  /** As {@link BlobStore.extendRetention}, from the object's first moment on. Ignored by stores without retention. */
  readonly retainUntil?: number;
  /**
   * Written to a disk piece by piece, each durable before the next: who shares the disk waits behind one piece and not behind
   * a whole pack. Takes somewhat longer; ignored by stores that are no folder.
   */
  readonly steady?: boolean;
}

export interface BlobInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** When the object was created by the clock of the storage, ms since the epoch: compare with nothing but each other. */
  readonly modified: number;
  /** Until when the storage itself forbids deletion; only `stat` must tell. */
  readonly retainUntil?: number;
}

export type StoreErrorKind =
  /** No such object (or no such bucket or directory: then the message says so). */
  | "not-found"
  /** Longer than the caller allowed. */
  | "too-large"
  /** Under the storage's own lock. */
  | "retained"
  /** Credentials or permissions. */
  | "denied"
  | "no-space"
  /** This store cannot do that at all. */
  | "unsupported"
  /** May work later: network, time-out, throttling, a server's 5xx. */
  | "unavailable"
  /** Anything else; trying again will not help. */
  | "failed";

export class StoreError extends GodwitError<StoreErrorKind> {
  override readonly name = "StoreError";
}

export function isNotFound(error: unknown): boolean {
  return error instanceof StoreError && error.kind === "not-found";
}

/** True when the same call may succeed later. */
export function isRetryable(error: unknown): boolean {
  return error instanceof StoreError && error.kind === "unavailable";
}

const namePattern = /^[a-z0-9]+(?:\/[a-z0-9]+)*$/;
const prefixPattern = /^(?:[a-z0-9]+\/)*$/;

/** For stores that other things may lie in: what is no blob's name is not listed. */
export function isBlobName(name: string): boolean {
  return name.length <= 200 && namePattern.test(name);
}

/** Throws `failed` for what is not an object name: a store calls it before building a path or an URL. */
export function checkBlobName(name: string): void {
  if (!isBlobName(name)) throw new StoreError("failed", `not an object name: ${JSON.stringify(name)}`);
}

export function checkBlobPrefix(prefix: string): void {
  if (prefix.length > 200 || !prefixPattern.test(prefix)) throw new StoreError("failed", `not an object prefix: ${JSON.stringify(prefix)}`);
}
