import type { Vault } from "@godwit/vault";
import type { VaultAccess } from "@godwit/engine";

/** The registered vaults of a server that has this one alone. */
export function soleVault(vault: Vault): VaultAccess {
  const record = { id: vault.id, name: "main", location: "", passphraseFile: "", addedAt: "" };
  return {
    list: async () => [record],
    find: async () => record,
    open: async () => vault,
    openApart: async () => ({ vault, [Symbol.asyncDispose]: () => Promise.resolve() }),
  };
}
