import { isUnreadable } from "../errors.ts";
import { hasPoint, type Mark, parseMark } from "../format/gc.ts";
import { limits, objectName } from "../format/objects.ts";
import type { Point } from "../format/point.ts";
import type { KeyRing } from "../keys/ring.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";

/** A mark that stands; `content` is missing when it cannot be read. */
export interface StandingMark {
  readonly id: string;
  readonly content: Mark | undefined;
}

/** Packs that gc condemned: nobody may count on what is only there; docs/formats/vault.md, section 13. */
export class Condemned {
  #marks: ReadonlyMap<string, StandingMark> = new Map();
  #packs = new Set<string>();
  /** A mark that cannot be read may condemn anything. */
  #all = false;

  get marks(): readonly StandingMark[] {
    return [...this.#marks.values()];
  }

  has(pack: string): boolean {
    return this.#all || this.#packs.has(pack);
  }

  /** {@link has} as it is now, whatever is applied later: for a lookup in segments that may be forgotten meanwhile. */
  get now(): (pack: string) => boolean {
    const [all, packs] = [this.#all, this.#packs];
    return (pack) => all || packs.has(pack);
  }

  get any(): boolean {
    return this.#marks.size > 0;
  }

  /** True when the point needs nothing that a standing mark condemns, apart from what has copies. */
  isClear(point: Pick<Point, "id" | "marks">): boolean {
    return this.marks.every((mark) => isClearOf(point, mark));
  }

  /** The marks that stand; they count from {@link apply} on. */
  async read(store: BlobStore, keys: KeyRing, signal: AbortSignal): Promise<ReadonlyMap<string, StandingMark>> {
    const marks = new Map<string, StandingMark>();
    for await (const { name } of store.list("mark/", { signal })) {
      const id = name.slice("mark/".length);
      const mark = this.#marks.get(id) ?? (await readMark(store, keys, id, signal));
      if (mark) marks.set(id, mark);
    }
    return marks;
  }

  /** True when marks went: what they condemned is gone, from the store and from the index. */
  apply(marks: ReadonlyMap<string, StandingMark>): boolean {
    const went = this.marks.some(({ id }) => !marks.has(id));
    this.#marks = marks;
    this.#packs = new Set();
    for (const { content } of marks.values()) for (const { pack } of content?.packs ?? []) this.#packs.add(pack);
    this.#all = this.marks.some(({ content }) => content === undefined);
    return went;
  }
}

export function isClearOf(point: Pick<Point, "id" | "marks">, mark: StandingMark): boolean {
  return point.marks?.includes(mark.id) === true || (mark.content !== undefined && hasPoint(mark.content.points, point.id));
}

/** Undefined when it is gone. */
async function readMark(store: BlobStore, keys: KeyRing, id: string, signal: AbortSignal): Promise<StandingMark | undefined> {
  const name = objectName.mark(id);
  try {
    const object = await store.get(name, { signal, maxBytes: limits.jsonBytes });
    return { id, content: parseMark(keys.openJson(object, "MARK", name), name) };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    if (!isUnreadable(error)) throw error;
    return { id, content: undefined };
  }
}
