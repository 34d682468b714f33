import type { BlobStore } from "@godwit/vault";
import { renderFields, renderTable } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";

interface Status {
  readonly location: string;
  readonly id: string;
  readonly grid: number;
  readonly points: number;
  readonly damagedPoints: number;
  readonly vms: readonly { readonly name: string; readonly points: number; readonly first: string; readonly latest: string }[];
  /** Objects and bytes by the first part of their name. */
  readonly objects: readonly { readonly kind: string; readonly count: number; readonly bytes: number }[];
  readonly storedBytes: number;
  /** Puts that are under way, or that were interrupted. */
  readonly openSessions: number;
}

async function countObjects(store: BlobStore, signal: AbortSignal): Promise<{ kind: string; count: number; bytes: number }[]> {
  const kinds = new Map<string, { kind: string; count: number; bytes: number }>();
  for await (const { name, size } of store.list("", { signal })) {
    const kind = name.split("/", 1)[0]!;
    const entry = kinds.get(kind) ?? { kind, count: 0, bytes: 0 };
    kinds.set(kind, entry);
    entry.count += 1;
    entry.bytes += size;
  }
  return [...kinds.values()];
}

function statusTable(status: Status): string {
  const fields = renderFields([
    ["vault", status.location],
    ["id", status.id],
    ["chunk size", formatBytes(status.grid)],
    ["points", status.damagedPoints > 0 ? `${status.points}, and ${status.damagedPoints} damaged` : status.points],
    ["stored", formatBytes(status.storedBytes)],
    ["unfinished puts", status.openSessions > 0 ? status.openSessions : undefined],
  ]);
  const vms = renderTable(
    [
      { title: "VM", value: (vm) => vm.name },
      { title: "POINTS", value: (vm) => vm.points, align: "right" },
      { title: "FIRST", value: (vm) => vm.first },
      { title: "LATEST", value: (vm) => vm.latest },
    ],
    status.vms,
  );
  return `${fields}\n${vms}`;
}

/** `godwit vault status`. */
export async function vaultStatus(flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  const { points, damaged, locked } = await opened.vault.points({ signal });
  const objects = await countObjects(opened.store, signal);
  const byName = Map.groupBy(points, (point) => point.name);
  const status: Status = {
    location: opened.vault.location,
    id: opened.vault.id,
    grid: opened.vault.grid,
    points: points.length + locked.length,
    damagedPoints: damaged.length,
    vms: [...byName].map(([name, own]) => ({ name, points: own.length, first: own[0]!.time, latest: own.at(-1)!.time })),
    objects,
    storedBytes: objects.reduce((sum, { bytes }) => sum + bytes, 0),
    openSessions: objects.find(({ kind }) => kind === "session")?.count ?? 0,
  };
  await show(context, status, statusTable);
}
