import { isUnreadable } from "../../errors.ts";
import { batchName, objectName } from "../../format/objects.ts";
import type { VaultParts } from "../../parts.ts";
import { giveUp, readForGiveUp } from "../give-up.ts";
import { WriteSession } from "../session.ts";
import { activeSessions } from "./survey.ts";

/**
 * Gives up the sessions that wrote nothing for `staleAfterMs`, by the storage's own clock, also where their objects are
 * damaged; their ids.
 */
export async function giveUpStale(parts: VaultParts, staleAfterMs: number, signal: AbortSignal): Promise<string[]> {
  const active = await activeSessions(parts, signal);
  if (active.size === 0) return [];
  const now = await storageNow(parts, signal);
  const givenUp: string[] = [];
  for (const session of active) {
    const sign = await lastSign(parts, session, signal);
    if (now === undefined || sign === undefined || now - sign <= staleAfterMs) continue;
    try {
      const content = await readForGiveUp(parts, session, signal);
      if (!content) continue;
      await giveUp(parts, session, content.point, signal);
      givenUp.push(session);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
  return givenUp;
}

/** What time the storage has, as it stamps a new object. */
async function storageNow(parts: VaultParts, signal: AbortSignal): Promise<number | undefined> {
  const probe = new WriteSession(parts, signal);
  await probe.start("");
  try {
    return (await parts.store.stat(objectName.session(probe.id), { signal }))?.modified;
  } finally {
    await probe.end();
  }
}

/** When the session last wrote anything, by the storage's clock; undefined when it is over. */
async function lastSign({ store }: VaultParts, session: string, signal: AbortSignal): Promise<number | undefined> {
  const info = await store.stat(objectName.session(session), { signal });
  if (!info) return undefined;
  let [sign, next] = [info.modified, 0];
  for await (const { name, modified } of store.list("index/", { signal, after: `index/${session}` })) {
    if (!name.startsWith(`index/${session}`)) break;
    sign = Math.max(sign, modified);
    next = Number.parseInt(name.slice(-4), 16) + 1;
  }
  for (const kind of ["data", "tree"]) {
    for await (const { modified } of store.list(`${kind}/${batchName(session, next)}/`, { signal })) sign = Math.max(sign, modified);
  }
  return sign;
}
