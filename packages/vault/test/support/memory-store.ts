import { type BlobInfo, type BlobStore, checkBlobName, checkBlobPrefix, type PutOptions, StoreError } from "@godwit/vault";

/** What a {@link MemoryStore} may be told to do at a write. */
export type Fault = (operation: "put" | "delete", name: string) => "ok" | "fail-before" | "fail-after";

/** Objects in memory, with faults at will; only for tests of what the vault does about faults. */
export class MemoryStore implements BlobStore {
  readonly location = "memory";
  readonly enforcesRetention: boolean;
  readonly objects: Map<string, Uint8Array>;
  fault: Fault = () => "ok";
  writes = 0;
  readBytes = 0;
  /** The storage's clock, ms. */
  now: () => number = () => 0;
  readonly #created = new Map<string, number>();
  readonly #retained = new Map<string, number>();

  constructor(objects: ReadonlyMap<string, Uint8Array> = new Map(), { enforcesRetention = false } = {}) {
    this.objects = new Map(objects);
    this.enforcesRetention = enforcesRetention;
  }

  async put(name: string, parts: readonly Uint8Array[], { signal }: PutOptions): Promise<"created" | "exists"> {
    checkBlobName(name);
    await this.#step(signal);
    const fault = this.fault("put", name);
    this.writes += 1;
    if (fault === "fail-before") throw new StoreError("failed", `injected before ${name}`);
    const taken = this.objects.has(name);
    if (!taken) {
      this.objects.set(name, Buffer.concat(parts));
      this.#created.set(name, this.now());
    }
    if (fault === "fail-after") throw new StoreError("failed", `injected after ${name}`);
    return taken ? "exists" : "created";
  }

  async get(name: string, { signal, maxBytes }: { signal: AbortSignal; maxBytes: number }): Promise<Uint8Array> {
    checkBlobName(name);
    await this.#step(signal);
    const object = this.#of(name);
    if (object.length > maxBytes) throw new StoreError("too-large", name);
    return Uint8Array.from(object);
  }

  async read(name: string, offset: number, into: Uint8Array, { signal }: { signal: AbortSignal }): Promise<number> {
    checkBlobName(name);
    await this.#step(signal);
    const part = this.#of(name).subarray(offset, offset + into.length);
    into.set(part);
    this.readBytes += part.length;
    return part.length;
  }

  async stat(name: string, { signal }: { signal: AbortSignal }): Promise<BlobInfo | undefined> {
    checkBlobName(name);
    await this.#step(signal);
    const object = this.objects.get(name);
    const retainUntil = this.#retained.get(name);
    return object && { ...this.#infoOf(name, object), ...(retainUntil === undefined ? {} : { retainUntil }) };
  }

  async *list(prefix: string, { signal, after }: { signal: AbortSignal; after?: string }): AsyncGenerator<BlobInfo> {
    checkBlobPrefix(prefix);
    await this.#step(signal);
    for (const name of [...this.objects.keys()].toSorted()) {
      signal.throwIfAborted();
      const object = this.objects.get(name);
      if (object && name.startsWith(prefix) && (after === undefined || name > after)) yield this.#infoOf(name, object);
    }
  }

  #infoOf(name: string, object: Uint8Array): BlobInfo {
    return { name, size: object.length, modified: this.#created.get(name) ?? 0 };
  }

  async delete(name: string, { signal }: { signal: AbortSignal }): Promise<void> {
    checkBlobName(name);
    await this.#step(signal);
    const fault = this.fault("delete", name);
    this.writes += 1;
    if (fault === "fail-before") throw new StoreError("failed", `injected before deleting ${name}`);
    if ((this.#retained.get(name) ?? 0) > this.now()) throw new StoreError("retained", `${name} is locked`);
    this.objects.delete(name);
    if (fault === "fail-after") throw new StoreError("failed", `injected after deleting ${name}`);
  }

  async extendRetention(name: string, until: number, { signal }: { signal: AbortSignal }): Promise<void> {
    await this.#step(signal);
    if (!this.enforcesRetention) throw new StoreError("unsupported", "memory retains nothing");
    this.#of(name);
    this.#retained.set(name, Math.max(until, this.#retained.get(name) ?? 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #of(name: string): Uint8Array {
    const object = this.objects.get(name);
    if (!object) throw new StoreError("not-found", `no object ${name}`);
    return object;
  }

  async #step(signal: AbortSignal): Promise<void> {
    await Promise.resolve();
    signal.throwIfAborted();
  }
}
