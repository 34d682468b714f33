import type { Clock } from "@godwit/core";
import { VaultError } from "../errors.ts";
import { objectName } from "../format/objects.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";

/** `config`; docs/formats/vault.md, section 3. Written last by init. */
export async function writeConfig(
  store: BlobStore,
  vault: string,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<void> {
  const text = JSON.stringify({ format: "godwit-vault", version: 1, id: vault, created: new Date(clock.now()).toISOString() });
  await store.put(objectName.config, [Buffer.from(text)], { signal });
}

/**
 * Sees that there is a vault of a version that we know. A config that is damaged or gone is no reason to
 * give up while there are slots: they hold what it holds. Resolves to false then.
 */
export async function readConfig(store: BlobStore, signal: AbortSignal): Promise<boolean> {
  const config = await readJson(store, signal);
  if (config?.["format"] === "godwit-vault") {
    const version = config["version"];
    if (version === 1) return true;
    throw new VaultError("unsupported", `the vault at ${store.location} has format version ${String(version)}; this program knows 1`);
  }
  for await (const _slot of store.list("slot/", { signal })) return false;
  throw new VaultError("no-vault", `there is no vault at ${store.location}`);
}

async function readJson(store: BlobStore, signal: AbortSignal): Promise<Record<string, unknown> | undefined> {
  try {
    const bytes = await store.get(objectName.config, { signal, maxBytes: 64 << 10 });
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;
  } catch (error) {
    if (isNotFound(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
