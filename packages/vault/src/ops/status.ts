import { isUnreadable } from "../errors.ts";
import type { Hold } from "../format/hold.ts";
import type { Point } from "../format/point.ts";
import type { Hurt } from "../index/hurt.ts";
import type { VaultParts } from "../parts.ts";
import { PackEpochs } from "./epochs.ts";
import { readSession } from "./give-up.ts";
import { gc } from "./gc/gc.ts";
import { activeSessions } from "./gc/survey.ts";
import { isOver, listHolds } from "./holds.ts";
import { lockedUntil } from "./lock.ts";
import { listPoints } from "./points.ts";

export interface StatusOptions {
  readonly signal: AbortSignal;
  /** Walk the trees to tell what is dead: reads as much as a gc. */
  readonly estimateDead?: boolean;
  /** Ask the storage about every object that a locked point needs. */
  readonly checkLocks?: boolean;
}

export interface VaultStatus {
  readonly points: number;
  /** VMs that have points. */
  readonly machines: number;
  /** Ids of points whose object is damaged, or sealed with a key that this slot was not granted. */
  readonly damagedPoints: readonly string[];
  readonly lockedPoints: readonly string[];
  /** The sizes of all disks of all points, zeros included. */
  readonly logicalBytes: number;
  /** By kind of object, and in all. */
  readonly stored: Readonly<Record<"data" | "tree" | "index" | "other" | "all", { readonly objects: number; readonly bytes: number }>>;
  /** Logical bytes per stored byte; 0 for an empty vault. */
  readonly dedupeFactor: number;
  /** Entries of the indexes: chunks and nodes, duplicates included. */
  readonly items: number;
  /** Index segments that repair can make anew. */
  readonly damagedSegments: readonly string[];
  /** Newest last; the last one seals what is new. */
  readonly epochs: readonly { readonly epoch: number; readonly packs: number; readonly bytes: number }[];
  /** Captures and other work under way, or interrupted. `started` is by the clock of who wrote it. */
  readonly sessions: readonly { readonly id: string; readonly name: string; readonly started: string }[];
  /** Packs that gc has condemned and not yet deleted. */
  readonly condemnedPacks: number;
  /** Packs that verification found damaged. */
  readonly hurt: readonly Hurt[];
  readonly holds: readonly HoldStatus[];
  /** With `estimateDead`. */
  readonly dead?: { readonly packs: number; readonly bytes: number; readonly items: number };
}

export interface HoldStatus extends Hold {
  /** The VM's name; empty when the point cannot be read. */
  readonly name: string;
  /**
   * With `checkLocks`: until when the storage itself keeps all that the point needs, ms. Undefined when it
   * does not, whatever the hold says.
   */
  readonly enforcedUntil?: number;
}

/** What is in a vault, and what is going on there. Writes nothing. */
export async function status(parts: VaultParts, options: StatusOptions): Promise<VaultStatus> {
  const { signal } = options;
  const { index } = parts;
  await index.refresh(signal);
  const { points, damaged, locked } = await listPoints(parts, { signal });
  const { stored, epochs } = await countObjects(parts, signal);
  const logicalBytes = points.reduce((sum, { disks }) => sum + disks.reduce((bytes, { size }) => bytes + size, 0), 0);
  const dead = options.estimateDead ? { dead: await estimateDead(parts, signal) } : {};
  return {
    points: points.length,
    machines: new Set(points.map(({ name }) => name)).size,
    damagedPoints: damaged,
    lockedPoints: locked,
    logicalBytes,
    stored,
    dedupeFactor: stored.all.bytes === 0 ? 0 : logicalBytes / stored.all.bytes,
    items: index.segments.reduce((sum, { head }) => sum + head.entries, 0),
    damagedSegments: index.damagedSegments,
    epochs,
    sessions: await sessionsOf(parts, signal),
    condemnedPacks: index.condemned.marks.reduce((sum, { content }) => sum + (content?.packs.length ?? 0), 0),
    hurt: index.hurt.all,
    holds: await holdsOf(parts, points, options),
    ...dead,
  };
}

type Count = { objects: number; bytes: number };

async function countObjects(parts: VaultParts, signal: AbortSignal): Promise<Pick<VaultStatus, "stored" | "epochs">> {
  const none = (): Count => ({ objects: 0, bytes: 0 });
  const stored = { data: none(), tree: none(), index: none(), other: none(), all: none() };
  const packEpochs = new PackEpochs(parts, signal);
  const epochs = new Map(parts.keys.epochs.map((epoch) => [epoch, { epoch, packs: 0, bytes: 0 }]));
  for await (const { name, size } of parts.store.list("", { signal })) {
    const kind = name.split("/")[0];
    const isPack = kind === "data" || kind === "tree";
    for (const count of [stored[isPack || kind === "index" ? kind : "other"], stored.all]) {
      count.objects += 1;
      count.bytes += size;
    }
    const epoch = isPack ? epochs.get((await packEpochs.of(name)) ?? 0) : undefined;
    if (!epoch) continue;
    epoch.packs += 1;
    epoch.bytes += size;
  }
  return { stored, epochs: [...epochs.values()].sort((a, b) => a.epoch - b.epoch) };
}

async function sessionsOf(parts: VaultParts, signal: AbortSignal): Promise<{ id: string; name: string; started: string }[]> {
  const sessions: { id: string; name: string; started: string }[] = [];
  for (const id of await activeSessions(parts, signal)) {
    try {
      const content = await readSession(parts, id, signal);
      if (content) sessions.push({ id, name: content.name, started: content.started });
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      sessions.push({ id, name: "", started: "" });
    }
  }
  return sessions;
}

async function holdsOf(parts: VaultParts, points: readonly Point[], { signal, checkLocks = false }: StatusOptions): Promise<HoldStatus[]> {
  const byId = new Map(points.map((point) => [point.id, point]));
  const enforced = new Map<string, number | undefined>();
  const holds: HoldStatus[] = [];
  for (const hold of await listHolds(parts, undefined, signal)) {
    if (isOver(hold, parts.clock.now())) continue;
    const point = byId.get(hold.point);
    if (checkLocks && point && !enforced.has(point.id)) enforced.set(point.id, await lockedUntil(parts, point, signal));
    const enforcedUntil = enforced.get(hold.point);
    holds.push({ ...hold, name: point?.name ?? "", ...(enforcedUntil === undefined ? {} : { enforcedUntil }) });
  }
  return holds;
}

async function estimateDead(parts: VaultParts, signal: AbortSignal): Promise<NonNullable<VaultStatus["dead"]>> {
  const { deadPacks, deadBytes, items, liveItems } = await gc(parts, { signal, dryRun: true });
  return { packs: deadPacks, bytes: deadBytes, items: items - liveItems };
}
