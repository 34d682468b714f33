import { randomBytes } from "node:crypto";
import { type BlockSink, type Clock, type Extent, type LendingSource, systemClock } from "@godwit/core";
import { VaultError } from "./errors.ts";
import { isGrid, objectName } from "./format/objects.ts";
import type { Point } from "./format/point.ts";
import { VaultIndex } from "./index/vault-index.ts";
import { addSlot, createKeys, listSlots, type NewSlot, removeSlot, type SlotInfo, startEpoch, unlock } from "./keys/keys.ts";
import type { KeyRing } from "./keys/ring.ts";
import type { Secret } from "./keys/slot.ts";
import { readConfig, writeConfig } from "./ops/config.ts";
import { treeOf } from "./ops/disk-writer.ts";
import { diffTrees } from "./ops/diff.ts";
import { type DiskOptions, PointDiskSource } from "./ops/disk-source.ts";
import { diskOf, listPoints, type PointList, resolvePoint } from "./ops/points.ts";
import { put, type PutOptions, type PutRequest } from "./ops/put.ts";
import { type RestoreOptions, type RestoreResult, restoreDisk } from "./ops/restore.ts";
import type { Hold } from "./format/hold.ts";
import { gc, type GcOptions, type GcResult } from "./ops/gc/gc.ts";
import { addHold, deletePoint, type HoldRequest, listHolds, releaseHolds } from "./ops/holds.ts";
import { applyPrune, type PruneResult } from "./ops/prune/apply.ts";
import { planPrune, type PrunePlan, type PrunePolicies } from "./ops/prune/plan.ts";
import { lockPoint, type LockRequest, type LockResult } from "./ops/lock.ts";
import { rewriteOldEpochs, type RewriteEpochsResult } from "./ops/rewrite-epochs.ts";
import { status, type StatusOptions, type VaultStatus } from "./ops/status.ts";
import { repair, type RepairResult } from "./ops/repair.ts";
import { verify, type VerifyOptions, type VerifyResult } from "./ops/verify.ts";
import { defaultTuning, type Tuning, type VaultParts } from "./parts.ts";
import type { BlobStore } from "./store/blob-store.ts";
import { Nodes, PackCiphers } from "./tree/nodes.ts";

export interface OpenOptions {
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  readonly tuning?: Partial<Tuning>;
}

export interface InitOptions extends OpenOptions, NewSlot {
  /** Bytes, a power of two from 4 KiB to 4 MiB; 64 KiB unless there is a reason. It stays for good. */
  readonly grid?: number;
}

const defaultGrid = 64 << 10;

/**
 * An opened vault. Operations may overlap, in this process and on other machines. It borrows the store,
 * which its owner closes.
 */
export class Vault {
  readonly id: string;
  readonly grid: number;
  readonly location: string;
  #parts: VaultParts;
  #listed: Promise<void> | undefined;

  private constructor(parts: VaultParts) {
    this.id = parts.keys.vault;
    this.grid = parts.keys.grid;
    this.location = parts.store.location;
    this.#parts = parts;
  }

  /** Makes a vault in an empty place. Throws `vault-exists`. */
  static async init(store: BlobStore, options: InitOptions): Promise<Vault> {
    const { signal, clock = systemClock, grid = defaultGrid } = options;
    if (!isGrid(grid)) throw new VaultError("invalid", `a grid is a power of two from 4 KiB to 4 MiB, not ${grid}`);
    if (await store.stat(objectName.config, { signal })) throw new VaultError("vault-exists", `${store.location} is a vault already`);
    const vault = randomBytes(16).toString("hex");
    const keys = await createKeys(store, { ...options, vault, grid, clock }, signal);
    await writeConfig(store, vault, { clock, signal });
    return new Vault(partsOf(store, keys, options));
  }

  /** Throws `no-vault`, `locked`, `unsupported`. A damaged `config` is no obstacle; `verify` names it. */
  static async open(store: BlobStore, secret: Secret, options: OpenOptions): Promise<Vault> {
    // Both at once, as a store may be far away; what the config says comes first.
    const [config, keys] = await Promise.allSettled([readConfig(store, options.signal), unlock(store, secret, options.signal)]);
    if (config.status === "rejected") throw config.reason;
    if (keys.status === "rejected") throw keys.reason;
    return new Vault(partsOf(store, keys.value, options));
  }

  /** Stores a recovery point and resolves to it; see {@link put}. */
  async put(request: PutRequest, options: PutOptions): Promise<Point> {
    return await put(this.#parts, request, options);
  }

  /** The same vault as it is now, whoever wrote to it; undefined when there is a newer key than ours: open it again then. */
  async renewed({ signal }: { readonly signal: AbortSignal }): Promise<Vault | undefined> {
    const known = objectName.epoch(this.#parts.keys.current.epoch);
    for await (const { name } of this.#parts.store.list("epoch/", { signal })) if (name > known) return undefined;
    return new Vault(this.#fresh());
  }

  /** All recovery points, oldest first; those of one VM where `name` is given. */
  async points(options: { readonly name?: string; readonly signal: AbortSignal }): Promise<PointList> {
    return await listPoints(this.#parts, options);
  }

  /** A point by the start of its id, by `NAME@latest`, or by the name of a VM for its latest. */
  async point(text: string, { signal }: { readonly signal: AbortSignal }): Promise<Point> {
    return await resolvePoint(this.#parts, text, signal);
  }

  /** Forgets a point. What only it needs stays until gc. No error when it is not there. Throws `held`. */
  async deletePoint(id: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await deletePoint(this.#parts, id, signal);
  }

  /** A disk of a point, for reading at random; close it. */
  async openDisk(
    point: Point,
    disk: string | undefined,
    { signal, ...options }: DiskOptions & { readonly signal: AbortSignal },
  ): Promise<LendingSource> {
    const chosen = diskOf(point, disk);
    await this.#index(signal);
    return new PointDiskSource(this.#parts, point, chosen, options);
  }

  /** Writes a disk of a point to `target`; see {@link restoreDisk}. */
  async restore(point: Point, disk: string | undefined, target: BlockSink, options: RestoreOptions): Promise<RestoreResult> {
    const chosen = diskOf(point, disk);
    await this.#index(options.signal);
    return await restoreDisk(this.#parts, { point, disk: chosen }, target, options);
  }

  /** Where a disk differs between two points, in order, at a cost that follows the difference. */
  async *diff(from: Point, to: Point, disk: string | undefined, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<Extent> {
    const [before, after] = [diskOf(from, disk), diskOf(to, disk)];
    await this.#index(signal);
    const pair = { from: treeOf(before, from.grid), to: treeOf(after, to.grid), grid: to.grid, size: after.size };
    yield* diffTrees(this.#parts.nodes, pair, signal);
  }

  /** Looks for damage, quarantines it, and says which points it hurts and which are whole; see {@link verify}. */
  async verify(options: VerifyOptions): Promise<VerifyResult> {
    // With caches of its own: what was read before proves nothing about what is there now.
    return await verify(this.#fresh(), options);
  }

  /**
   * Which points a policy keeps and which go, each with every reason; deletes nothing. See {@link planPrune}. With
   * `nameOf` points count as the VM's that it names, and those for which it names none are no part of the plan.
   */
  async planPrune(
    policies: PrunePolicies,
    options: { readonly signal: AbortSignal; readonly hurt?: ReadonlySet<string>; readonly nameOf?: (point: Point) => string | undefined },
  ): Promise<PrunePlan> {
    const { signal, hurt, nameOf = ({ name }) => name } = options;
    const all = await listPoints(this.#parts, { signal });
    const points = all.points.flatMap((point) => {
      const name = nameOf(point);
      return name === undefined ? [] : [name === point.name ? point : { ...point, name }];
    });
    const list = { ...all, points };
    const holds = await listHolds(this.#parts, undefined, signal);
    return planPrune({ list, holds, now: this.#parts.clock.now(), ...(hurt ? { hurt } : {}) }, policies);
  }

  /** Deletes the points that a plan says; see {@link applyPrune}. */
  async applyPrune(
    plan: PrunePlan,
    options: { readonly signal: AbortSignal; readonly onProgress?: (done: number) => void },
  ): Promise<PruneResult> {
    return await applyPrune(this.#parts, plan, options);
  }

  /** Frees what no recovery point needs, beside captures and other gcs on any machine; see {@link gc}. */
  async gc(options: GcOptions): Promise<GcResult> {
    const result = await gc(this.#fresh(), options);
    this.#listed = undefined;
    return result;
  }

  /** Forbids deleting a point until a time or until it is released; `kind: "lock"` cannot be released before its time. */
  async hold(point: Point, request: HoldRequest, { signal }: { readonly signal: AbortSignal }): Promise<Hold> {
    return await addHold(this.#parts, point.id, request, signal);
  }

  /**
   * Locks a point until a date, as {@link hold} does, and has the storage itself enforce it where it can, on
   * all that a restore needs. Run again, it extends; see {@link lockPoint}.
   */
  async lock(
    point: Point,
    request: LockRequest,
    options: { readonly signal: AbortSignal; readonly onProgress?: (objects: number) => void },
  ): Promise<LockResult> {
    return await lockPoint(this.#fresh(), point, request, options);
  }

  /** What is in the vault and what is going on there; see {@link status}. */
  async status(options: StatusOptions): Promise<VaultStatus> {
    return await status(this.#fresh(), options);
  }

  /** Removes a hold by its id, or all of a point's that are no locks; how many. Throws `held`, `not-found`. */
  async release(point: Point, hold: string | undefined, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    return await releaseHolds(this.#parts, point.id, hold, signal);
  }

  /** The holds of one point, or of all. */
  async holds(point: Point | undefined, { signal }: { readonly signal: AbortSignal }): Promise<Hold[]> {
    return await listHolds(this.#parts, point?.id, signal);
  }

  /** Makes anew what can be derived from packs: indexes and `config`; see {@link repair}. */
  async repair(options: { readonly signal: AbortSignal }): Promise<RepairResult> {
    const repaired = await repair(this.#fresh(), options);
    this.#parts = this.#fresh();
    this.#listed = undefined;
    return repaired;
  }

  async slots({ signal }: { readonly signal: AbortSignal }): Promise<SlotInfo[]> {
    return await listSlots(this.#parts.store, this.#parts.keys, signal);
  }

  /** Adds a way in; its id. */
  async addSlot(slot: NewSlot, { signal }: { readonly signal: AbortSignal }): Promise<string> {
    const { store, keys, clock } = this.#parts;
    return (await addSlot(store, keys.vault, keys.current, { ...slot, clock }, signal)).id;
  }

  /** Removes a way in. Who copied the storage before can still use it there; {@link rekey} protects what comes after. */
  async removeSlot(id: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await removeSlot(this.#parts.store, id, signal);
  }

  /** Starts a new epoch: what is written from now on is sealed with a key that no older secret reaches. */
  async rekey({ signal }: { readonly signal: AbortSignal }): Promise<{ readonly epoch: number; readonly leftOut: readonly string[] }> {
    const { store, keys, clock, tuning } = this.#parts;
    const started = await startEpoch(store, keys, clock, signal);
    this.#parts = partsOf(store, started.keys, { clock, tuning });
    this.#listed = undefined;
    return { epoch: started.keys.current.epoch, leftOut: started.leftOut };
  }

  /** Seals what older keys seal with the current one, in bounded runs, and then drops those; see {@link rewriteOldEpochs}. */
  async rewriteOldEpochs(options: GcOptions): Promise<RewriteEpochsResult> {
    const result = await rewriteOldEpochs(this.#fresh(), options);
    this.#listed = undefined;
    return result;
  }

  #fresh(): VaultParts {
    const { store, keys, clock, tuning } = this.#parts;
    return partsOf(store, keys, { clock, tuning });
  }

  /** Reads the index once; a put reads it anew. */
  async #index(signal: AbortSignal): Promise<void> {
    this.#listed ??= this.#parts.index.refresh(signal);
    try {
      await this.#listed;
    } catch (error) {
      this.#listed = undefined;
      throw error;
    }
  }
}

function partsOf(store: BlobStore, keys: KeyRing, { clock = systemClock, tuning }: Pick<OpenOptions, "clock" | "tuning">): VaultParts {
  const index = new VaultIndex(store, keys);
  const ciphers = new PackCiphers(store, keys);
  return { store, keys, index, ciphers, clock, nodes: new Nodes({ store, keys, index, ciphers }), tuning: { ...defaultTuning, ...tuning } };
}
