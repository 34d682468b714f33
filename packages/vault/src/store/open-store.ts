import { fileURLToPath } from "node:url";
import { type BlobStore, StoreError } from "./blob-store.ts";
import { LocalStore } from "./local-store.ts";
import { Retrier, RetryStore } from "./retry-store.ts";

export interface OpenStoreOptions {
  readonly signal: AbortSignal;
  /** Make the place (a directory) when it is not there. */
  readonly create?: boolean;
  /** Where credentials for Azure are looked up; the process's own where not given. S3's SDK looks there by itself. */
  readonly environment?: NodeJS.ProcessEnv;
}

type Opener = (location: string, options: OpenStoreOptions) => Promise<BlobStore>;

/** What a location may start with; each loads its code only when it is asked for. */
const schemes: Readonly<Record<string, Opener>> = {
  azure: async (location, { signal, environment = process.env }) => {
    const { AzureStore, parseAzureLocation } = await import("./azure/index.ts");
    const where = parseAzureLocation(location);
    return await overNetwork(signal, (signal) => AzureStore.open(where, { signal, environment }));
  },
  s3: async (location, { signal }) => {
    const { S3Store, parseS3Location } = await import("./s3/index.ts");
    const where = parseS3Location(location);
    return await overNetwork(signal, (signal) => S3Store.open(where, { signal }));
  },
  file: async (location, options) => await LocalStore.open(fileURLToPath(location), options),
};

/** A store whose line may fail: opened and used with patience. */
async function overNetwork(signal: AbortSignal, open: (signal: AbortSignal) => Promise<BlobStore>): Promise<BlobStore> {
  return new RetryStore(await new Retrier().run("open the store", 0, signal, open));
}

/**
 * Opens the store at a location as people write it: a directory's path, or a URL of a scheme that we know.
 * Throws `unsupported` for other schemes, and what the store throws that is not there.
 */
export async function openStore(location: string, options: OpenStoreOptions): Promise<BlobStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return await LocalStore.open(location, options);
  const open = schemes[scheme];
  if (open) return await open(location, options);
  const known = Object.keys(schemes).map((name) => `${name}://`);
  throw new StoreError("unsupported", `no store for ${scheme}:// locations: name a directory, or use ${known.join(", ")}`);
}
