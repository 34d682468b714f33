import { type Connection, isLibvirtError, ListStoragePoolsFlags, type StoragePool } from "@godwit/libvirt";
import type { PoolFacts } from "../../model/host.ts";
import { orElse } from "./errors.ts";
import { parsePool } from "./xml/index.ts";

/** Every storage pool; sizes as libvirt last refreshed them. Without a storage driver there are none. */
export async function readPools({ remote }: Connection, signal: AbortSignal): Promise<PoolFacts[]> {
  const select = async (flags: number): Promise<readonly StoragePool[]> =>
    (await remote.connectListAllStoragePools({ needResults: 1, flags }, { signal })).pools;
  const all = await orElse(select(0), []);
  if (all.length === 0) return [];
  const active = new Set((await select(ListStoragePoolsFlags.ACTIVE)).map(({ uuid }) => uuid));
  const pools = await Promise.all(
    all.map(async (pool) => {
      try {
        return { ...parsePool(await remote.storagePoolGetXmlDesc({ pool, flags: 0 }, { signal })), active: active.has(pool.uuid) };
      } catch (error) {
        if (isLibvirtError(error, "NO_STORAGE_POOL")) return undefined; // Gone meanwhile.
        throw error;
      }
    }),
  );
  return pools.flatMap((pool) => pool ?? []);
}
