import { VaultError } from "../errors.ts";

/** What collections of garbage write; docs/formats/vault.md, section 13. */
export interface CondemnedPack {
  /** The object's name. */
  readonly pack: string;
  /** Packs with copies of what was live in it. */
  readonly to: readonly string[];
}

export interface Mark {
  readonly packs: readonly CondemnedPack[];
  /** First 16 digits of the ids of the points that were looked at, one after the other, sorted. */
  readonly points: string;
}

export const pointDigits = 16;
/** Packs of one mark, sessions of one wait: far more than ours ever write. */
const mostItems = 1 << 20;

export function pointsText(ids: Iterable<string>): string {
  return [...ids]
    .map((id) => id.slice(0, pointDigits))
    .toSorted()
    .join("");
}

/** True when `points` of a mark has the point. */
export function hasPoint(points: string, id: string): boolean {
  const wanted = id.slice(0, pointDigits);
  let [low, high] = [0, Math.floor(points.length / pointDigits) - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const here = points.slice(middle * pointDigits, (middle + 1) * pointDigits);
    if (here === wanted) return true;
    if (here < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (json: unknown): Fields => (json !== null && typeof json === "object" ? (json as Fields) : {});
const packPattern = /^(?:data|tree)\/[0-9a-f]{20}\/[0-9a-f]{32}$/;
const isPack = (value: unknown): value is string => typeof value === "string" && packPattern.test(value);
const isSession = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{16}$/.test(value);

function listOf<T>(value: unknown, isItem: (item: unknown) => item is T, name: string): T[] {
  if (!Array.isArray(value) || value.length > mostItems || !value.every(isItem)) {
    throw new VaultError("corrupt", `${name} makes no sense`, { object: name });
  }
  return value;
}

/** Throws `corrupt`. */
export function parseMark(json: unknown, name: string): Mark {
  const { packs, points } = fieldsOf(json);
  const isCondemned = (value: unknown): value is CondemnedPack => isPack(fieldsOf(value)["pack"]);
  const condemned = listOf(packs, isCondemned, name).map(({ pack, to }) => ({ pack, to: listOf(to, isPack, name) }));
  if (typeof points !== "string" || !/^(?:[0-9a-f]{16})*$/.test(points)) {
    throw new VaultError("corrupt", `${name} does not say which points it looked at`, { object: name });
  }
  return { packs: condemned, points };
}

/** The sessions that a mark waits for. Throws `corrupt`. */
export function parseWait(json: unknown, name: string): string[] {
  return listOf(fieldsOf(json)["sessions"], isSession, name);
}

/** The packs that are deleted. Throws `corrupt`. */
export function parseDoom(json: unknown, name: string): string[] {
  return listOf(fieldsOf(json)["packs"], isPack, name);
}

export interface SessionContent {
  /** The VM's name; empty for a session that makes no point. */
  readonly name: string;
  readonly started: string;
  /** The id that the point will have. */
  readonly point?: string;
}

/** Throws `corrupt`. */
export function parseSession(json: unknown, object: string): SessionContent {
  const { name, started, point } = fieldsOf(json);
  const whole = typeof name === "string" && typeof started === "string";
  if (!whole || (point !== undefined && !(typeof point === "string" && /^[0-9a-f]{32}$/.test(point)))) {
    throw new VaultError("corrupt", `${object} makes no sense`, { object });
  }
  return { name, started, ...(point === undefined ? {} : { point }) };
}
