import { fileURLToPath } from "node:url";
import { type BlobStore, StoreError } from "./blob-store.ts";
import { CachingStore } from "./caching-store.ts";
import { LimitedStore, type StoreLimits } from "./limited-store.ts";
import { LocalStore } from "./local-store.ts";
import { Retrier, type RetryOptions, RetryStore } from "./retry-store.ts";

export interface OpenStoreOptions {
  readonly signal: AbortSignal;
  /** Make the place (a directory) when it is not there. */
  readonly create?: boolean;
  /** Where credentials for Azure are looked up; the process's own where not given. S3's SDK looks there by itself. */
  readonly environment?: NodeJS.ProcessEnv;
  /** How a store over a network is tried again. */
  readonly retry?: RetryOptions;
  /** What the vault may take of the storage and the line to it. */
  readonly limits?: StoreLimits;
  /**
   * Bytes of what was read that are kept in memory, and read with their surroundings, where the store is no directory: for
   * many small reads. None where not given.
   */
  readonly cacheBytes?: number;
}

/** Who opens a store waits for an answer: a name that is spelt wrong looks like a line that is down. */
const openingPatienceMs = 20_000;

/** What is read of an object in one go, to be cached: some records, at a price that the line pays in half its latency. */
const cachedBlock = 1 << 20;
/** Objects that are read in parts. */
const bulk = /^(?:data|tree|index)\//;

type Opener = (location: string, options: OpenStoreOptions) => Promise<BlobStore>;

/** What a location may start with; each loads its code only when it is asked for. */
const schemes: Readonly<Record<string, Opener>> = {
  azure: async (location, options) => {
    const { environment = process.env } = options;
    const { AzureStore, parseAzureLocation } = await import("./azure/index.ts");
    const where = parseAzureLocation(location);
    return await overNetwork(options, (signal) => AzureStore.open(where, { signal, environment }));
  },
  s3: async (location, options) => {
    const { S3Store, parseS3Location } = await import("./s3/index.ts");
    const where = parseS3Location(location);
    return await overNetwork(options, (signal) => S3Store.open(where, { signal }));
  },
  file: async (location, options) => await LocalStore.open(fileURLToPath(location), options),
};

/** A store whose line may fail: opened and used with patience. */
async function overNetwork({ signal, retry }: OpenStoreOptions, open: (signal: AbortSignal) => Promise<BlobStore>): Promise<BlobStore> {
  const opening = new Retrier({ patienceMs: openingPatienceMs, ...retry });
  return new RetryStore(await opening.run("open the store", 0, signal, open), retry);
}

/**
 * Opens the store at a location as people write it: a directory's path, or a URL of a scheme that we know.
 * Throws `unsupported` for other schemes, and what the store throws that is not there.
 */
export async function openStore(location: string, options: OpenStoreOptions): Promise<BlobStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase();
  const open: Opener | undefined = scheme === undefined ? (path, options) => LocalStore.open(path, options) : schemes[scheme];
  if (open) {
    const opened = await open(location, options);
    const store: BlobStore = options.limits ? new LimitedStore(opened, options.limits) : opened;
    if (options.cacheBytes === undefined || store.pathOf) return store;
    return new CachingStore(store, { maxBytes: options.cacheBytes, blockBytes: cachedBlock, keeps: (name) => bulk.test(name) });
  }
  const known = Object.keys(schemes).map((name) => `${name}://`);
  throw new StoreError("unsupported", `no store for ${scheme}:// locations: name a directory, or use ${known.join(", ")}`);
}
