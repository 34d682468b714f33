import type { Readable } from "node:stream";
import { raceAbort } from "@godwit/core";
import {
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  PutObjectRetentionCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { type BlobInfo, type BlobStore, checkBlobName, checkBlobPrefix, isBlobName, type PutOptions, StoreError } from "../blob-store.ts";
import { calling, fill, joined } from "../http-errors.ts";
import { codeOfS3, s3Error, statusOf } from "./s3-errors.ts";
import { formatS3Location, type S3Location } from "./s3-location.ts";
import { deleteVersion, deleteVersions, lockOf, oldestVersion, type VersionedKey } from "./s3-versions.ts";

export interface S3StoreOptions {
  readonly signal: AbortSignal;
  /** Where not given, the SDK looks in the environment and the shared configuration. */
  readonly credentials?: S3ClientConfig["credentials"];
  /** Objects in a page of a listing; 1000, as S3 allows, where not given. */
  readonly pageSize?: number;
}

type Lock = { readonly ObjectLockMode: "COMPLIANCE"; readonly ObjectLockRetainUntilDate: Date };

const connectMs = 10_000;
/** A server that says nothing for so long is gone. */
const silentMs = 60_000;
const sockets = 128;
/** Not the name of a blob; see {@link S3Store.open}. */
const probeKey = ".create-only";

/**
 * Objects in a bucket of S3 or of a server that speaks it. Objects are created with `If-None-Match: *`. Some
 * servers ignore that, so that the first `put` tries it on `.create-only`; where it is ignored, `put` looks
 * first, and in a bucket with versions lets the oldest version win. Without versions as well, two writers
 * that create one name in the same instant may both be told `created`.
 *
 * With object lock, retention is set in compliance mode. In a bucket with versions `delete` removes all of
 * an object's versions. Each call is tried once: see `RetryStore`.
 */
export class S3Store implements BlobStore {
  readonly location: string;
  readonly enforcesRetention: boolean;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #pageSize: number;
  readonly #closed = new AbortController();
  #createOnly: Promise<boolean> | undefined;
  #versions: Promise<boolean> | undefined;

  private constructor(client: S3Client, where: S3Location, options: { readonly locks: boolean; readonly pageSize: number }) {
    this.location = formatS3Location(where);
    this.enforcesRetention = options.locks;
    this.#client = client;
    this.#bucket = where.bucket;
    this.#prefix = where.prefix;
    this.#pageSize = options.pageSize;
    if (options.locks) this.#versions = Promise.resolve(true);
  }

  /** Asks whether the bucket has object lock; without the right to know, it counts as having none. Throws `not-found` without a bucket. */
  static async open(where: S3Location, { signal, credentials, pageSize = 1000 }: S3StoreOptions): Promise<S3Store> {
    const client = new S3Client({
      maxAttempts: 1,
      responseChecksumValidation: "WHEN_REQUIRED",
      forcePathStyle: where.pathStyle,
      requestHandler: {
        connectionTimeout: connectMs,
        socketTimeout: silentMs,
        httpAgent: { keepAlive: true, maxSockets: sockets },
        httpsAgent: { keepAlive: true, maxSockets: sockets },
      },
      ...(where.endpoint === undefined ? {} : { endpoint: where.endpoint }),
      ...(where.region === undefined ? (where.endpoint === undefined ? {} : { region: "us-east-1" }) : { region: where.region }),
      ...(credentials ? { credentials } : {}),
    });
    try {
      return new S3Store(client, where, { locks: await hasObjectLock(client, where, signal), pageSize });
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  async put(name: string, parts: readonly Uint8Array[], { signal, retainUntil }: PutOptions): Promise<"created" | "exists"> {
    checkBlobName(name);
    const lock = retainUntil === undefined || !this.enforcesRetention ? undefined : lockUntil(retainUntil);
    return await this.#call(`store ${name}`, signal, async () => {
      if (await this.#refusesOverwrites(signal)) return (await this.#create(name, joined(parts), lock, signal)) ? "created" : "exists";
      return await this.#createCarefully(name, joined(parts), lock, signal);
    });
  }

  async get(name: string, { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    checkBlobName(name);
    return await this.#call(`read ${name}`, signal, async () => {
      const { Body, ContentLength = Infinity } = await this.#client.send(new GetObjectCommand(this.#key(name)), { abortSignal: signal });
      const body = Body as Readable;
      if (ContentLength > maxBytes) {
        body.destroy();
        throw new StoreError("too-large", `${name} has ${ContentLength} bytes, at most ${maxBytes} were expected`);
      }
      const bytes = new Uint8Array(ContentLength);
      expectAll(name, await fill(body, bytes), ContentLength);
      return bytes;
    });
  }

  async read(name: string, offset: number, into: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    checkBlobName(name);
    return await this.#call(`read ${name}`, signal, async () => {
      if (into.length === 0) {
        await this.#client.send(new HeadObjectCommand(this.#key(name)), { abortSignal: signal });
        return 0;
      }
      const range = `bytes=${offset}-${offset + into.length - 1}`;
      try {
        const part = await this.#client.send(new GetObjectCommand({ ...this.#key(name), Range: range }), { abortSignal: signal });
        const body = part.Body as Readable;
        const { ContentLength = into.length, ContentRange } = part;
        if (offset > 0 && ContentRange?.startsWith(`bytes ${offset}-`) !== true) {
          body.destroy();
          throw new StoreError("unsupported", `${this.location} gives back whole objects where a part was asked for`);
        }
        const wanted = Math.min(ContentLength, into.length);
        expectAll(name, await fill(body, into.subarray(0, wanted)), wanted);
        return wanted;
      } catch (error) {
        if (statusOf(error) === 416) return 0;
        throw error;
      }
    });
  }

  async stat(name: string, { signal }: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    checkBlobName(name);
    return await this.#call(`look at ${name}`, signal, async () => await this.#head(name, signal));
  }

  async *list(
    prefix: string,
    { signal, after }: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    checkBlobPrefix(prefix);
    let last = after ?? "";
    let token: string | undefined;
    do {
      const page = await this.#call(`list ${prefix}`, signal, async () => {
        const from = token === undefined ? (after === undefined ? {} : { StartAfter: this.#prefix + after }) : { ContinuationToken: token };
        const wish = { Bucket: this.#bucket, Prefix: this.#prefix + prefix, MaxKeys: this.#pageSize, ...from };
        return await this.#client.send(new ListObjectsV2Command(wish), { abortSignal: signal });
      });
      for (const { Key = "", Size = 0, LastModified } of page.Contents ?? []) {
        const name = Key.slice(this.#prefix.length);
        if (!Key.startsWith(this.#prefix + prefix) || !isBlobName(name)) continue;
        if (name <= last) {
          if (name === after) continue;
          throw new StoreError("unsupported", `${this.location} does not list objects in the order of their names`, { name, last });
        }
        last = name;
        yield { name, size: Size, modified: LastModified?.getTime() ?? 0 };
        signal.throwIfAborted();
      }
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (next !== undefined && next === token) throw new StoreError("failed", `${this.location} lists the same page for ever`);
      token = next;
    } while (token !== undefined);
  }

  async delete(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    await this.#call(`delete ${name}`, signal, async () => {
      if (await this.#hasVersions(signal)) await deleteVersions(this.#versioned(name, signal));
      else await this.#client.send(new DeleteObjectCommand(this.#key(name)), { abortSignal: signal });
    });
  }

  async extendRetention(name: string, until: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    signal.throwIfAborted();
    if (!this.enforcesRetention)
      throw new StoreError("unsupported", `${this.location} has no object lock: it is chosen when the bucket is made`);
    await this.#call(`lock ${name}`, signal, async () => {
      const key = this.#versioned(name, signal);
      if ((await lockOf(key)) >= until) return;
      try {
        await this.#lock(name, undefined, lockUntil(until), signal);
      } catch (error) {
        // Somebody may have locked it for longer in the meantime.
        if (s3Error(error, "").kind !== "denied" || (await lockOf(key)) < until) throw error;
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new StoreError("failed", `${this.location} was closed`));
    this.#client.destroy();
    return Promise.resolve();
  }

  async #call<T>(what: string, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    return await calling(signal, (error) => s3Error(error, `${what} in ${this.location}`), body);
  }

  #key(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + name };
  }

  #versioned(name: string, signal: AbortSignal): VersionedKey {
    return { client: this.#client, bucket: this.#bucket, key: this.#prefix + name, signal };
  }

  async #head(name: string, signal: AbortSignal): Promise<BlobInfo | undefined> {
    try {
      const head = await this.#client.send(new HeadObjectCommand(this.#key(name)), { abortSignal: signal });
      const retainUntil = head.ObjectLockRetainUntilDate?.getTime();
      return {
        name,
        size: head.ContentLength ?? 0,
        modified: head.LastModified?.getTime() ?? 0,
        ...(retainUntil === undefined ? {} : { retainUntil }),
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** False when the name is taken. */
  async #create(name: string, body: Uint8Array, lock: Lock | undefined, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#client.send(new PutObjectCommand({ ...this.#key(name), Body: body, IfNoneMatch: "*", ...lock }), { abortSignal: signal });
      return true;
    } catch (error) {
      if (statusOf(error) === 412) return false;
      throw error;
    }
  }

  /** For servers that overwrite whatever they are told. */
  async #createCarefully(name: string, body: Uint8Array, lock: Lock | undefined, signal: AbortSignal): Promise<"created" | "exists"> {
    if (await this.#head(name, signal)) return "exists";
    const { VersionId } = await this.#client.send(new PutObjectCommand({ ...this.#key(name), Body: body }), { abortSignal: signal });
    if (VersionId !== undefined) {
      const key = this.#versioned(name, signal);
      if ((await oldestVersion(key)) !== VersionId) {
        await deleteVersion(key, VersionId);
        return "exists";
      }
    }
    if (lock) await this.#lock(name, VersionId, lock, signal);
    return "created";
  }

  async #lock(name: string, version: string | undefined, lock: Lock, signal: AbortSignal): Promise<void> {
    const retention = { Mode: lock.ObjectLockMode, RetainUntilDate: lock.ObjectLockRetainUntilDate };
    const wish = { ...this.#key(name), VersionId: version, Retention: retention };
    await this.#client.send(new PutObjectRetentionCommand(wish), { abortSignal: signal });
  }

  /** Whether the server minds `If-None-Match`; asked once, for all callers. */
  async #refusesOverwrites(signal: AbortSignal): Promise<boolean> {
    if (!this.#createOnly) {
      const asking = this.#probe();
      this.#createOnly = asking;
      asking.catch(() => (this.#createOnly = undefined));
    }
    return await raceAbort(this.#createOnly, signal);
  }

  async #probe(): Promise<boolean> {
    try {
      for (let time = 0; time < 2; time += 1) {
        if (!(await this.#create(probeKey, new Uint8Array(0), undefined, this.#closed.signal))) return true;
      }
      return false;
    } catch (error) {
      const kind = s3Error(error, "").kind;
      if (kind === "unsupported") return false;
      if (codeOfS3(error) === "ConditionalRequestConflict") return true;
      throw error;
    }
  }

  /** Whether deleting must look for versions; who may not know believes not. */
  async #hasVersions(signal: AbortSignal): Promise<boolean> {
    if (!this.#versions) {
      const asking = this.#askForVersions();
      this.#versions = asking;
      asking.catch(() => (this.#versions = undefined));
    }
    return await raceAbort(this.#versions, signal);
  }

  async #askForVersions(): Promise<boolean> {
    try {
      const command = new GetBucketVersioningCommand({ Bucket: this.#bucket });
      return (await this.#client.send(command, { abortSignal: this.#closed.signal })).Status !== undefined;
    } catch (error) {
      const { kind } = s3Error(error, "");
      if (kind === "denied" || kind === "unsupported") return false;
      throw error;
    }
  }
}

async function hasObjectLock(client: S3Client, where: S3Location, signal: AbortSignal): Promise<boolean> {
  const map = (error: unknown): StoreError => s3Error(error, `open ${formatS3Location(where)}`);
  return await calling(signal, map, async () => {
    try {
      const command = new GetObjectLockConfigurationCommand({ Bucket: where.bucket });
      const { ObjectLockConfiguration } = await client.send(command, { abortSignal: signal });
      return ObjectLockConfiguration?.ObjectLockEnabled === "Enabled";
    } catch (error) {
      if (codeOfS3(error) === "ObjectLockConfigurationNotFoundError" || codeOfS3(error) === "AccessDenied") return false;
      if (s3Error(error, "").kind === "unsupported") return false;
      throw error;
    }
  });
}

/** In whole seconds, as some servers keep no more, and never earlier than asked. */
function lockUntil(until: number): Lock {
  return { ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: new Date(Math.ceil(until / 1000) * 1000) };
}

function expectAll(name: string, got: number, wanted: number): void {
  if (got < wanted) throw new StoreError("unavailable", `the answer about ${name} ended after ${got} of ${wanted} bytes`);
}
