import type { VaultStatus } from "@godwit/vault";
import { renderFields } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { holdsTable } from "./holds.ts";

export interface StatusFlags extends AccessFlags {
  readonly estimate: boolean;
  readonly checkLocks: boolean;
}

interface Shown extends VaultStatus {
  readonly location: string;
  readonly id: string;
  readonly grid: number;
}

function statusTable(status: Shown): string {
  const { stored, epochs, dead } = status;
  const fields = renderFields([
    ["vault", status.location],
    ["id", status.id],
    ["chunk size", formatBytes(status.grid)],
    ["points", `${status.points} of ${status.machines} VMs, ${formatBytes(status.logicalBytes)}`],
    ["stored", `${formatBytes(stored.all.bytes)} in ${stored.all.objects} objects, 1 byte for ${status.dedupeFactor.toFixed(1)}`],
    ["indexes", `${formatBytes(stored.index.bytes)} for ${status.items} chunks and nodes`],
    ["key", `epoch ${epochs.at(-1)?.epoch ?? 0}`],
    ["older keys", epochs.slice(0, -1).some(({ packs }) => packs > 0) ? "seal packs still: 'key rekey --rewrite' ends that" : undefined],
    ["of no use", dead ? `${formatBytes(dead.bytes)} in ${dead.packs} packs` : undefined],
    ["waiting to go", status.condemnedPacks > 0 ? `${status.condemnedPacks} packs` : undefined],
    ["damaged", countsOf(status)],
  ]);
  const sessions = status.sessions.map(({ id, name, started }) => `  ${id} for ${name || "repair"}, since ${started}\n`).join("");
  const enforced = status.holds.flatMap(({ id, enforcedUntil }) =>
    enforcedUntil === undefined ? [] : [`  ${id}: the storage itself keeps it until ${new Date(enforcedUntil).toISOString()}\n`],
  );
  return [
    fields,
    sessions && `under way, or interrupted:\n${sessions}`,
    status.holds.length > 0 ? `\n${holdsTable(status.holds)}` : "",
    ...enforced,
  ].join("");
}

function countsOf({ damagedPoints, hurt, damagedSegments }: VaultStatus): string | undefined {
  if (damagedPoints.length + hurt.length + damagedSegments.length === 0) return undefined;
  return `${damagedPoints.length} points, ${hurt.length} packs, ${damagedSegments.length} indexes; 'verify' says more`;
}

/** `godwit vault status`. */
export async function vaultStatus(flags: StatusFlags, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const { vault } = opened;
  const status = await vault.status({ signal: context.signal, estimateDead: flags.estimate, checkLocks: flags.checkLocks });
  await show(context, { location: vault.location, id: vault.id, grid: vault.grid, ...status }, statusTable);
}
