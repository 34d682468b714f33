import { openStore, Vault } from "@godwit/vault";
import { renderFields } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { locationOf, secretOf } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";

export interface InitFlags extends AccessFlags {
  readonly grid?: number;
  readonly label: string;
}

/** `godwit vault init`. */
export async function initVault(location: string | undefined, flags: InitFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const secret = await secretOf(flags, context);
  await using store = await openStore(location ?? locationOf(flags, context), { signal, create: true });
  const vault = await Vault.init(store, { signal, secret, label: flags.label, ...(flags.grid === undefined ? {} : { grid: flags.grid }) });
  await show(context, { location: vault.location, id: vault.id, grid: vault.grid }, ({ id, grid }) => {
    const fields = renderFields([
      ["vault", vault.location],
      ["id", id],
      ["chunk size", formatBytes(grid)],
    ]);
    return `${fields}without its secret nothing in it can be read: 'godwit vault key export' prints a recovery code for paper\n`;
  });
}
