import { randomBytes } from "node:crypto";
import { isUnreadable, VaultError } from "../errors.ts";
import { type Hold, holdToJson, parseHold } from "../format/hold.ts";
import { limits, objectName } from "../format/objects.ts";
import type { VaultParts } from "../parts.ts";
import { isNotFound } from "../store/blob-store.ts";
import { readPoint } from "./points.ts";

export interface HoldRequest {
  /** When it ends by itself, ms since the epoch; without it, it holds until it is released. */
  readonly until?: number;
  /** For people: who wants this, and why. */
  readonly reason: string;
  /** A lock cannot be released before its time; it needs one. A hold unless said otherwise. */
  readonly kind?: Hold["kind"];
}

type Holding = Pick<VaultParts, "store" | "keys" | "clock">;

/** Forbids every Godwit to delete the point. Throws `not-found`, `invalid`. */
export async function addHold(parts: Holding, point: string, request: HoldRequest, signal: AbortSignal): Promise<Hold> {
  const { kind = "hold", until, reason } = request;
  if (kind === "lock" && until === undefined) throw new VaultError("invalid", "a lock needs a date at which it ends; use a hold for none");
  await expectPoint(parts, point, signal);
  const id = randomBytes(8).toString("hex");
  const created = new Date(parts.clock.now()).toISOString();
  const hold: Hold = { id, point, kind, ...(until === undefined ? {} : { until }), reason, created };
  const name = objectName.hold(point, id);
  await parts.store.put(name, [parts.keys.sealJson("HOLD", name, holdToJson(hold))], { signal });
  // A deletion that saw no hold may have been under way.
  await expectPoint(parts, point, signal);
  return hold;
}

async function expectPoint(parts: Holding, point: string, signal: AbortSignal): Promise<void> {
  try {
    await readPoint(parts, point, signal);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new VaultError("not-found", `the vault has no recovery point ${point}`, { point });
  }
}

/** Every hold of a point, or of all points, over or not. One that cannot be read holds for good. */
export async function listHolds(parts: Holding, point: string | undefined, signal: AbortSignal): Promise<Hold[]> {
  const holds: Hold[] = [];
  for await (const { name } of parts.store.list(point === undefined ? "hold/" : `hold/${point}/`, { signal })) {
    try {
      const object = await parts.store.get(name, { signal, maxBytes: limits.jsonBytes });
      holds.push(parseHold(parts.keys.openJson(object, "HOLD", name), name));
    } catch (error) {
      if (isNotFound(error)) continue;
      if (!isUnreadable(error)) throw error;
      const [, of, id] = name.split("/");
      holds.push({ id: id ?? "", point: of ?? "", kind: "hold", reason: "this hold is damaged; release it to be rid of it", created: "" });
    }
  }
  return holds;
}

export function isOver(hold: Pick<Hold, "until">, now: number): boolean {
  return hold.until !== undefined && hold.until <= now;
}

/** Removes a hold by its id, or all of a point's that may be removed; how many. Throws `held` for a lock before its time. */
export async function releaseHolds(parts: Holding, point: string, hold: string | undefined, signal: AbortSignal): Promise<number> {
  const now = parts.clock.now();
  const wanted = (await listHolds(parts, point, signal)).filter(({ id }) => hold === undefined || id === hold);
  if (wanted.length === 0) throw new VaultError("not-found", `recovery point ${point.slice(0, 12)} has no such hold`, { point });
  const free = wanted.filter((one) => one.kind === "hold" || isOver(one, now));
  if (free.length === 0) throw new VaultError("held", heldMessage(point, wanted[0]!), { point });
  for (const { id } of free) await parts.store.delete(objectName.hold(point, id), { signal });
  return free.length;
}

/** Removes a point's object unless it is held; no error when it is not there. Throws `held`. */
export async function deletePoint(parts: Holding, point: string, signal: AbortSignal): Promise<void> {
  const now = parts.clock.now();
  const holds = await listHolds(parts, point, signal);
  const holding = holds.find((hold) => !isOver(hold, now));
  if (holding) throw new VaultError("held", heldMessage(point, holding), { point });
  try {
    await readPoint(parts, point, signal);
  } catch (error) {
    // Nothing there, or a name that only must not be used.
    if (isNotFound(error)) return;
    if (!isUnreadable(error)) throw error;
  }
  await parts.store.delete(objectName.point(point), { signal });
  for (const { id } of holds) await parts.store.delete(objectName.hold(point, id), { signal });
}

function heldMessage(point: string, { kind, until, reason }: Hold): string {
  const end = until === undefined ? "until it is released" : `until ${new Date(until).toISOString()}`;
  return `recovery point ${point.slice(0, 12)} has a ${kind} ${end}: ${reason}`;
}
