import { StorageSharedKeyCredential } from "@azure/storage-blob";
import { StoreError } from "../blob-store.ts";
import { parseEndpoint, parseLocation } from "../location.ts";

export interface AzureLocation {
  readonly account: string;
  readonly container: string;
  /** Empty, or with a closing `/`. */
  readonly prefix: string;
  /** Of an account that is not at `https://ACCOUNT.blob.core.windows.net`; its path may name the account. */
  readonly endpoint: string | undefined;
}

/** `azure://account/container/prefix?endpoint=https://host:port/account`. */
export function parseAzureLocation(location: string): AzureLocation {
  const { place, segments, options } = parseLocation(location, ["endpoint"]);
  const [container, ...rest] = segments;
  if (!/^[a-z0-9]{3,24}$/.test(place)) throw new StoreError("failed", `${place} is no name of a storage account: 3 to 24 of a-z and 0-9`);
  if (container === undefined || !/^[a-z0-9](?:-?[a-z0-9]){2,62}$/.test(container)) {
    throw new StoreError("failed", `azure://${place} needs the name of a container after it: azure://ACCOUNT/CONTAINER/PREFIX`);
  }
  const { endpoint } = options;
  return {
    account: place,
    container,
    prefix: rest.map((segment) => `${segment}/`).join(""),
    endpoint: endpoint === undefined ? undefined : parseEndpoint(endpoint, { path: true }),
  };
}

/** The location as people and logs see it. */
export function formatAzureLocation({ account, container, prefix, endpoint }: AzureLocation): string {
  const path = `azure://${account}/${container}${prefix === "" ? "" : `/${prefix.slice(0, -1)}`}`;
  return endpoint === undefined ? path : `${path}?endpoint=${endpoint}`;
}

export interface AzureAccess {
  readonly url: string;
  readonly credential: StorageSharedKeyCredential | undefined;
}

/**
 * The container's address and credential: the account's key from `AZURE_STORAGE_KEY`, or a shared access
 * signature from `AZURE_STORAGE_SAS_TOKEN`. Throws `denied` without either.
 */
export function azureAccess(where: AzureLocation, environment: NodeJS.ProcessEnv): AzureAccess {
  const { account, container, endpoint = `https://${account}.blob.core.windows.net` } = where;
  const url = `${endpoint}/${container}`;
  const key = environment["AZURE_STORAGE_KEY"];
  if (key !== undefined && key !== "") return { url, credential: new StorageSharedKeyCredential(account, key) };
  const signature = environment["AZURE_STORAGE_SAS_TOKEN"]?.replace(/^\?/, "");
  if (signature !== undefined && signature !== "") return { url: `${url}?${signature}`, credential: undefined };
  const way = "set AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY";
  throw new StoreError("denied", `no credentials were found for ${formatAzureLocation(where)}: ${way}`);
}
