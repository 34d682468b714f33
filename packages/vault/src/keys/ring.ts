import { randomBytes } from "node:crypto";
import { VaultError } from "../errors.ts";
import { type JsonKind, openJson, parseHeader, sealJson } from "../format/envelope.ts";
import { hex, type NamingKeys, namingKeys } from "../format/names.ts";
import { isGrid, limits, objectName } from "../format/objects.ts";
import { type BlobStore, isNotFound } from "../store/blob-store.ts";

export interface EpochKey {
  readonly epoch: number;
  readonly key: Uint8Array;
}

/** The content of an `epoch/` object, checked. */
export interface EpochContent {
  readonly vault: string;
  readonly epoch: number;
  readonly previous?: EpochKey;
  readonly naming: Uint8Array;
  readonly grid: number;
}

/** Every epoch's key that the opened slot reaches, and what the newest epoch says. */
export class KeyRing {
  readonly vault: string;
  readonly grid: number;
  readonly naming: Uint8Array;
  readonly names: NamingKeys;
  /** Seals what is new. */
  readonly current: EpochKey;
  readonly #keys = new Map<number, Uint8Array>();
  readonly #present: ReadonlySet<number>;

  /** `present` are the epochs that the vault has, whether or not their keys are known. */
  constructor(current: EpochKey, content: EpochContent, older: readonly EpochKey[], present: ReadonlySet<number>) {
    this.vault = content.vault;
    this.grid = content.grid;
    this.naming = content.naming;
    this.names = namingKeys(content.naming);
    this.current = current;
    this.#present = present;
    for (const { epoch, key } of [current, ...older]) this.#keys.set(epoch, key);
  }

  get epochs(): number[] {
    return [...this.#keys.keys()].toSorted((a, b) => a - b);
  }

  /** Throws `locked` for an epoch that this slot was not granted, `corrupt` for one that there never was. */
  keyOf(epoch: number): Uint8Array {
    const key = this.#keys.get(epoch);
    if (key) return key;
    if (this.#present.has(epoch)) {
      throw new VaultError("locked", `this slot has no key of epoch ${epoch}: the vault was re-keyed without it`, { epoch });
    }
    throw new VaultError("corrupt", `an object claims to be sealed with epoch ${epoch}, which the vault never had`, { epoch });
  }

  /** Opens a sealed JSON object. Throws `corrupt`. */
  openJson(object: Uint8Array, kind: JsonKind, name: string): unknown {
    return openJson(this.keyOf(parseHeader(object, kind, name).epoch), object, name);
  }

  sealJson(kind: Exclude<JsonKind, "EPCH">, name: string, value: unknown, salt: Uint8Array = randomBytes(16)): Uint8Array {
    return sealJson(this.current.key, { kind, epoch: this.current.epoch, salt }, name, value);
  }
}

/** `name` is that of the epoch object or of its second copy. */
export function sealEpoch(name: string, key: EpochKey, content: EpochContent, now: number): Uint8Array {
  const { previous } = content;
  return sealJson(key.key, { kind: "EPCH", epoch: key.epoch, salt: randomBytes(16) }, name, {
    vault: content.vault,
    epoch: key.epoch,
    ...(previous ? { previous: { epoch: previous.epoch, key: hex(previous.key) } } : {}),
    naming: hex(content.naming),
    grid: content.grid,
    created: new Date(now).toISOString(),
  });
}

export function parseEpoch(json: unknown, name: string): EpochContent {
  const corrupt = (): VaultError => new VaultError("corrupt", `${name} makes no sense`, { object: name });
  if (json === null || typeof json !== "object") throw corrupt();
  const { vault, epoch, previous, naming, grid } = json as Record<string, unknown>;
  const isKey = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
  if (typeof vault !== "string" || typeof epoch !== "number" || !isKey(naming)) throw corrupt();
  if (typeof grid !== "number" || !isGrid(grid)) throw new VaultError("unsupported", `${name} has a grid of ${String(grid)}`);
  const content = { vault, epoch, naming: Buffer.from(naming, "hex"), grid };
  if (previous === undefined) return content;
  const { epoch: before, key } = previous as Record<string, unknown>;
  if (typeof before !== "number" || before >= epoch || before < 1 || !isKey(key)) throw corrupt();
  return { ...content, previous: { epoch: before, key: Buffer.from(key, "hex") } };
}

/** The epochs that the vault has. */
export async function presentEpochs(store: BlobStore, signal: AbortSignal): Promise<Set<number>> {
  const present = new Set<number>();
  const look = async (prefix: string): Promise<void> => {
    for await (const { name } of store.list(prefix, { signal })) present.add(Number.parseInt(name.slice(prefix.length), 16));
  };
  await Promise.all([look("epoch/"), look("spare/")]);
  return present;
}

/** Follows the chain of epochs down from one whose key is known. */
export async function readRing(
  store: BlobStore,
  { vault, top, present }: { readonly vault: string; readonly top: EpochKey; readonly present: ReadonlySet<number> },
  signal: AbortSignal,
): Promise<KeyRing> {
  const older: EpochKey[] = [];
  let newest: EpochContent | undefined;
  for (let key: EpochKey | undefined = top; key;) {
    const content: EpochContent | undefined = await readEpoch(store, vault, key, signal).catch((error: unknown) => {
      // An old one may have been dropped a moment ago.
      if (newest && isNotFound(error)) return undefined;
      throw error;
    });
    if (!content) break;
    newest ??= content;
    if (content.previous) older.push(content.previous);
    // What was sealed with keys further back has been rewritten, when they were dropped.
    key = content.previous && present.has(content.previous.epoch) ? content.previous : undefined;
  }
  return new KeyRing(top, newest!, older, present);
}

/** Reads `epoch/`, or its second copy when that is damaged or gone. */
async function readEpoch(store: BlobStore, vault: string, key: EpochKey, signal: AbortSignal): Promise<EpochContent> {
  const read = async (name: string): Promise<EpochContent> => {
    const object = await store.get(name, { signal, maxBytes: limits.jsonBytes });
    parseHeader(object, "EPCH", name);
    const content = parseEpoch(openJson(key.key, object, name), name);
    if (content.vault !== vault || content.epoch !== key.epoch)
      throw new VaultError("corrupt", `${name} is another vault's`, { object: name });
    return content;
  };
  try {
    return await read(objectName.epoch(key.epoch));
  } catch (first) {
    if (!(first instanceof VaultError) && !isNotFound(first)) throw first;
    try {
      return await read(objectName.spare(key.epoch));
    } catch {
      throw first;
    }
  }
}
