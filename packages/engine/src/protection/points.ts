import { type Point, VaultError } from "@godwit/vault";
import { EngineError } from "../model/errors.ts";
import type { VaultRecord } from "./model.ts";
import type { VaultAccess } from "./vaults.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** A recovery point and the vault that it is in. */
export interface FoundPoint {
  readonly point: Point;
  readonly vault: VaultRecord;
}

/** The id of the VM that a point shows; undefined where the point does not say. */
export function vmIdOf({ machine }: Point): string | undefined {
  return (machine && /<uuid>\s*([0-9a-f-]{36})\s*<\/uuid>/i.exec(machine.definition)?.[1])?.toLowerCase();
}

/** The points of all registered vaults, or of one, oldest first. */
export async function listFoundPoints(
  vaults: VaultAccess,
  { vault, vm }: { readonly vault?: string | undefined; readonly vm?: string | undefined },
  { signal }: Cancellable,
): Promise<FoundPoint[]> {
  const records = vault === undefined ? await vaults.list() : [await vaults.find(vault)];
  const found: FoundPoint[] = [];
  for (const record of records) {
    const opened = await vaults.open(record.id, { signal });
    const { points } = await opened.points({ signal, ...(vm !== undefined && { name: vm }) });
    found.push(...points.map((point) => ({ point, vault: record })));
  }
  return found.toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
}

function orderOf({ point }: FoundPoint): string {
  return `${point.time} ${point.id}`;
}

/** A point by the start of its id, or a VM's name for its newest. Throws `not-found` or `ambiguous`. */
export async function findPoint(vaults: VaultAccess, ref: string, vault: string | undefined, { signal }: Cancellable): Promise<FoundPoint> {
  const records = vault === undefined ? await vaults.list() : [await vaults.find(vault)];
  const found: FoundPoint[] = [];
  for (const record of records) {
    const opened = await vaults.open(record.id, { signal });
    try {
      found.push({ vault: record, point: await opened.point(ref, { signal }) });
    } catch (error) {
      if (!(error instanceof VaultError) || (error.kind !== "not-found" && error.kind !== "ambiguous")) throw error;
      if (error.kind === "ambiguous")
        throw new EngineError("ambiguous", `${record.name}: ${error.message}`, { point: ref }, { cause: error });
    }
  }
  const [only, ...more] = found;
  if (!only) throw new EngineError("not-found", `no registered vault has a recovery point '${ref}'`, { point: ref });
  if (more.length > 0) {
    const names = found.map((one) => one.vault.name).join(", ");
    throw new EngineError("ambiguous", `'${ref}' stands for a recovery point in each of ${names}: say which vault`, { point: ref });
  }
  return only;
}
