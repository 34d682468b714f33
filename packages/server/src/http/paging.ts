import { EngineError } from "@godwit/engine";

export interface PageRequest {
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface PageOf<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

/**
 * One page of a list in the order of its keys. The cursor is the key of the last item of the page before, so
 * that items which come or go between two pages neither repeat nor hide others.
 */
export function pageOf<T>(items: readonly T[], keyOf: (item: T) => readonly string[], { cursor, limit }: PageRequest): PageOf<T> {
  const keyed = items
    .map((item) => ({ item, key: JSON.stringify(keyOf(item)) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const after = cursor === undefined ? undefined : decode(cursor);
  const rest = after === undefined ? keyed : keyed.filter(({ key }) => key > after);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const next = last !== undefined && rest.length > page.length ? { next: Buffer.from(last.key).toString("base64url") } : {};
  return { items: page.map(({ item }) => item), ...next };
}

function decode(cursor: string): string {
  const text = Buffer.from(cursor, "base64url").toString();
  if (!text.startsWith("[")) throw new EngineError("invalid", "the cursor is not one that this server gave");
  return text;
}
