import { isDamage } from "../errors.ts";
import { isVoid } from "../format/envelope.ts";
import { parseSession, type SessionContent } from "../format/gc.ts";
import { hex, pointOfSession } from "../format/names.ts";
import { batchName, limits, objectName, sessionOf } from "../format/objects.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";

interface Writing {
  readonly store: BlobStore;
  readonly keys: KeyRing;
}

/** Throws `corrupt` or `locked`; undefined when the session is over. */
export async function readSession({ store, keys }: Writing, session: string, signal: AbortSignal): Promise<SessionContent | undefined> {
  const object = objectName.session(session);
  try {
    const bytes = await store.get(object, { signal, maxBytes: limits.jsonBytes });
    return parseSession(keys.openJson(bytes, "SESS", object), object);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/**
 * What has to be known of a session to give it up: a damaged object does not say which point the session makes, but that
 * follows from the session's own id. Undefined when it is over. Throws `locked`.
 */
export async function readForGiveUp(
  writing: Writing,
  session: string,
  signal: AbortSignal,
): Promise<Pick<SessionContent, "point"> | undefined> {
  try {
    return await readSession(writing, session, signal);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { point: hex(pointOfSession(writing.keys.names, session)) };
  }
}

/**
 * Takes a session for dead. If it is not, it can still make no point and index no pack from now on: the
 * names are taken. `point` is what {@link readForGiveUp} says. May be done twice, and by several at once.
 */
export async function giveUp(writing: Writing, session: string, point: string | undefined, signal: AbortSignal): Promise<void> {
  if (point !== undefined) await takeName(writing, objectName.point(point), session, signal);
  for (let number = await nextBatch(writing.store, session, signal); ; number += 1) {
    if (await takeName(writing, objectName.index(batchName(session, number)), session, signal)) break;
  }
  await writing.store.delete(objectName.session(session), { signal });
}

/** True when a void stands at the name now. */
async function takeName({ store, keys }: Writing, name: string, session: string, signal: AbortSignal): Promise<boolean> {
  const object = keys.sealJson("VOID", name, { session });
  if ((await store.put(name, [object], { signal })) === "created") return true;
  const header = new Uint8Array(8);
  await store.read(name, 0, header, { signal });
  return isVoid(header);
}

async function nextBatch(store: BlobStore, session: string, signal: AbortSignal): Promise<number> {
  let next = 0;
  for await (const { name } of store.list("index/", { signal, after: `index/${session}` })) {
    const batch = name.slice("index/".length);
    if (sessionOf(batch) !== session) break;
    next = Number.parseInt(batch.slice(session.length), 16) + 1;
  }
  return next;
}
