import type { Readable } from "node:stream";
import { type BlobImmutabilityPolicy, type BlockBlobClient, ContainerClient } from "@azure/storage-blob";
import { type BlobInfo, type BlobStore, checkBlobName, checkBlobPrefix, isBlobName, type PutOptions, StoreError } from "../blob-store.ts";
import { calling, fill, joined } from "../http-errors.ts";
import { azureError, codeOfAzure, statusOfAzure } from "./azure-errors.ts";
import { azureAccess, type AzureLocation, formatAzureLocation } from "./azure-location.ts";

export interface AzureStoreOptions {
  readonly signal: AbortSignal;
  /** Where `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN` are looked up. */
  readonly environment: NodeJS.ProcessEnv;
  /** Blobs in a page of a listing; 5000, as the service allows, where not given. */
  readonly pageSize?: number;
}

interface State {
  readonly info: BlobInfo;
  readonly legalHold: boolean;
  /** The service's clock, ms since the epoch. */
  readonly now: number;
}

/**
 * Objects as block blobs of a container, created with `If-None-Match: *`. Where the container has version-level
 * immutability, retention is a locked policy on the blob, and `delete` removes all of a blob's versions. A
 * listing that starts `after` a name still reads the pages before it. Each call is tried once: see `RetryStore`.
 */
export class AzureStore implements BlobStore {
  readonly location: string;
  readonly enforcesRetention: boolean;
  readonly #container: ContainerClient;
  readonly #prefix: string;
  readonly #pageSize: number;

  private constructor(container: ContainerClient, where: AzureLocation, options: { readonly locks: boolean; readonly pageSize: number }) {
    this.location = formatAzureLocation(where);
    this.enforcesRetention = options.locks;
    this.#container = container;
    this.#prefix = where.prefix;
    this.#pageSize = options.pageSize;
  }

  /** Asks whether the container has immutability; without the right to know, it counts as having none. Throws `not-found` without a container. */
  static async open(where: AzureLocation, { signal, environment, pageSize = 5000 }: AzureStoreOptions): Promise<AzureStore> {
    const { url, credential } = azureAccess(where, environment);
    const options = { retryOptions: { maxTries: 1 }, keepAliveOptions: { enable: true } };
    const container = new ContainerClient(url, credential, options);
    const map = (error: unknown): StoreError => azureError(error, `open ${formatAzureLocation(where)}`);
    const locks = await calling(signal, map, async () => {
      try {
        return (await container.getProperties({ abortSignal: signal })).isImmutableStorageWithVersioningEnabled === true;
      } catch (error) {
        if (map(error).kind === "denied" && codeOfAzure(error) !== "AuthenticationFailed") return false;
        throw error;
      }
    });
    return new AzureStore(container, where, { locks, pageSize });
  }

  async put(name: string, parts: readonly Uint8Array[], { signal, retainUntil }: PutOptions): Promise<"created" | "exists"> {
    checkBlobName(name);
    const lock = retainUntil === undefined || !this.enforcesRetention ? {} : { immutabilityPolicy: lockUntil(retainUntil) };
    return await this.#call(`store ${name}`, signal, async () => {
      const body = joined(parts);
      try {
        await this.#blob(name).upload(body, body.length, { abortSignal: signal, conditions: { ifNoneMatch: "*" }, ...lock });
        return "created";
      } catch (error) {
        if (statusOfAzure(error) === 412 || codeOfAzure(error) === "BlobAlreadyExists") return "exists";
        throw error;
      }
    });
  }

  async get(name: string, { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    checkBlobName(name);
    return await this.#call(`read ${name}`, signal, async () => {
      const { readableStreamBody, contentLength = Infinity } = await this.#blob(name).download(0, undefined, { abortSignal: signal });
      const body = readableStreamBody as Readable;
      if (contentLength > maxBytes) {
        body.destroy();
        throw new StoreError("too-large", `${name} has ${contentLength} bytes, at most ${maxBytes} were expected`);
      }
      const bytes = new Uint8Array(contentLength);
      expectAll(name, await fill(body, bytes), contentLength);
      return bytes;
    });
  }

  async read(name: string, offset: number, into: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    checkBlobName(name);
    return await this.#call(`read ${name}`, signal, async () => {
      if (into.length === 0) {
        await this.#state(name, signal);
        return 0;
      }
      try {
        const part = await this.#blob(name).download(offset, into.length, { abortSignal: signal });
        const wanted = Math.min(part.contentLength ?? into.length, into.length);
        expectAll(name, await fill(part.readableStreamBody as Readable, into.subarray(0, wanted)), wanted);
        return wanted;
      } catch (error) {
        if (statusOfAzure(error) === 416) return 0;
        throw error;
      }
    });
  }

  async stat(name: string, { signal }: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    checkBlobName(name);
    return await this.#call(`look at ${name}`, signal, async () => {
      try {
        return (await this.#state(name, signal)).info;
      } catch (error) {
        if (isNoBlob(error)) return undefined;
        throw error;
      }
    });
  }

  async *list(
    prefix: string,
    { signal, after = "" }: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    checkBlobPrefix(prefix);
    signal.throwIfAborted();
    const listing = this.#container.listBlobsFlat({ prefix: this.#prefix + prefix, abortSignal: signal });
    const pages = listing.byPage({ maxPageSize: this.#pageSize })[Symbol.asyncIterator]();
    for (let last = ""; ;) {
      const { value: page, done } = await this.#call(`list ${prefix}`, signal, async () => await pages.next());
      if (done === true) return;
      for (const { name: key, properties } of page.segment.blobItems) {
        const name = key.slice(this.#prefix.length);
        if (!key.startsWith(this.#prefix + prefix) || !isBlobName(name)) continue;
        if (name <= last) {
          throw new StoreError("unsupported", `${this.location} does not list objects in the order of their names`, { name, last });
        }
        last = name;
        if (name <= after) continue;
        yield { name, size: properties.contentLength ?? 0, modified: (properties.createdOn ?? properties.lastModified).getTime() };
        signal.throwIfAborted();
      }
    }
  }

  async delete(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    await this.#call(`delete ${name}`, signal, async () => {
      try {
        if (this.enforcesRetention) await this.#expectUnlocked(name, signal);
        await this.#blob(name).delete({ abortSignal: signal, deleteSnapshots: "include" });
      } catch (error) {
        if (!isNoBlob(error)) throw error;
      }
      if (this.enforcesRetention) await this.#deleteVersions(name, signal);
    });
  }

  async extendRetention(name: string, until: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    signal.throwIfAborted();
    if (!this.enforcesRetention) {
      throw new StoreError("unsupported", `${this.location} has no version-level immutability: it is chosen when the container is made`);
    }
    await this.#call(`lock ${name}`, signal, async () => {
      if (((await this.#state(name, signal)).info.retainUntil ?? 0) >= until) return;
      try {
        await this.#blob(name).setImmutabilityPolicy(lockUntil(until), { abortSignal: signal });
      } catch (error) {
        // Somebody may have locked it for longer in the meantime.
        if (((await this.#state(name, signal)).info.retainUntil ?? 0) < until) throw error;
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #call<T>(what: string, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    return await calling(signal, (error) => azureError(error, `${what} in ${this.location}`), body);
  }

  #blob(name: string): BlockBlobClient {
    return this.#container.getBlockBlobClient(this.#prefix + name);
  }

  async #state(name: string, signal: AbortSignal): Promise<State> {
    const head = await this.#blob(name).getProperties({ abortSignal: signal });
    const retainUntil = head.immutabilityPolicyMode?.toLowerCase() === "locked" ? head.immutabilityPolicyExpiresOn?.getTime() : undefined;
    const info = {
      name,
      size: head.contentLength ?? 0,
      modified: (head.createdOn ?? head.lastModified)?.getTime() ?? 0,
      ...(retainUntil === undefined ? {} : { retainUntil }),
    };
    return { info, legalHold: head.legalHold === true, now: head.date?.getTime() ?? Date.now() };
  }

  /** With versions, deleting a locked blob would succeed and merely hide it. */
  async #expectUnlocked(name: string, signal: AbortSignal): Promise<void> {
    const { info, legalHold, now } = await this.#state(name, signal);
    const until = info.retainUntil ?? 0;
    if (legalHold) throw new StoreError("retained", `${name} is under a legal hold`, { name });
    if (until > now) throw new StoreError("retained", `${name} is locked until ${new Date(until).toISOString()}`, { name, until });
  }

  async #deleteVersions(name: string, signal: AbortSignal): Promise<void> {
    const key = this.#prefix + name;
    for await (const blob of this.#container.listBlobsFlat({ prefix: key, includeVersions: true, abortSignal: signal })) {
      if (blob.name !== key) return; // the key itself comes first among those that start with it
      if (blob.versionId !== undefined) await this.#blob(name).withVersion(blob.versionId).delete({ abortSignal: signal });
    }
  }
}

function isNoBlob(error: unknown): boolean {
  return statusOfAzure(error) === 404 && codeOfAzure(error) !== "ContainerNotFound";
}

/** In whole seconds, as HTTP dates are, and never earlier than asked. */
function lockUntil(until: number): BlobImmutabilityPolicy {
  return { expiriesOn: new Date(Math.ceil(until / 1000) * 1000), policyMode: "Locked" };
}

function expectAll(name: string, got: number, wanted: number): void {
  if (got < wanted) throw new StoreError("unavailable", `the answer about ${name} ended after ${got} of ${wanted} bytes`);
}
