import { CancelledError, describeError } from "@godwit/core";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { HostMigration } from "../ports/migration.ts";
import type { DiskCopy, DiskCopyState } from "../ports/offline.ts";
import { makeDurable } from "./durable.ts";
import type { Migrations } from "./service.ts";
import { type DiskFormat, planStorageMove, type StoragePlan } from "./storage-plan.ts";

/** With ids instead of names; the job's input. */
export type StorageMoveInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly hostId: string;
  readonly host: string;
  /** Targets; absent: all that can be moved. */
  readonly disks?: readonly string[];
  readonly pool: string;
  readonly format?: DiskFormat;
  readonly bandwidthBytesPerSecond?: number;
};

/** As a client asks. VM by id or name. */
export interface StorageMoveWish {
  readonly vm: string;
  readonly disks?: readonly string[] | undefined;
  readonly pool: string;
  readonly format?: DiskFormat | undefined;
  readonly bandwidthBytesPerSecond?: number | undefined;
}

/** Times RFC 3339 or in milliseconds. */
export interface StorageMoveResult {
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly running: boolean;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly totalMs: number;
  readonly disks: readonly MovedDisk[];
}

export interface MovedDisk {
  readonly target: string;
  readonly from: string;
  readonly to: string;
  readonly pool: string;
  readonly format: string;
  readonly totalMs: number;
}

type Context = JobContext<StorageMoveInput>;

const pollMs = 200;
/** A copy that does not grow for this long is given up, milliseconds. */
const stallMs = 30_000;
/** How often what is left of a copy is looked at before the job gives up on it. */
const looks = 20;

/** Names become ids. Throws `not-found` or `ambiguous`. */
export function resolveStorageMove(migrations: Migrations, wish: StorageMoveWish): StorageMoveInput {
  const vm = migrations.options.hosts.vm(wish.vm);
  const { pool, disks, format, bandwidthBytesPerSecond } = wish;
  return {
    vmId: vm.id,
    vm: vm.name,
    hostId: vm.hostId,
    host: vm.host,
    pool,
    ...(disks !== undefined && disks.length > 0 && { disks }),
    ...(format !== undefined && { format }),
    ...(bandwidthBytesPerSecond !== undefined && { bandwidthBytesPerSecond }),
  };
}

/** The job that moves disks to another storage pool of their host, while the VM runs or while it is off. */
export function storageMoveJob(migrations: Migrations): JobKind<StorageMoveInput> {
  return {
    kind: "vm.move-storage",
    title: ({ vm, disks, pool }) => `move ${disks === undefined ? "the disks" : disks.join(", ")} of ${vm} to ${pool}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: ({ hostId, host }) => [
      {
        name: `storage-migrations:${hostId}`,
        label: `storage migrations on ${host}`,
        limit: async () => (await migrations.options.networks.hostMigration(hostId)).maximumStorageMigrations,
      },
    ],
    run: (context) => new StorageMove(migrations, context).run(),
  };
}

interface ReadyMove {
  readonly running: boolean;
  readonly startedAt: string;
  readonly copies: readonly DiskCopy[];
}

class StorageMove {
  readonly #migrations: Migrations;
  readonly #context: Context;
  readonly #input: StorageMoveInput;

  constructor(migrations: Migrations, context: Context) {
    this.#migrations = migrations;
    this.#context = context;
    this.#input = context.input;
  }

  async run(): Promise<StorageMoveResult> {
    const { vmId, vm, host } = this.#input;
    const ready = await this.#context.step("plan", () => this.#plan());
    const disks: MovedDisk[] = [];
    for (const copy of ready.copies) {
      const { target, from, to, pool, format } = copy;
      const moved = await this.#move(copy, ready, disks);
      disks.push({ target, from, to, pool, format, totalMs: moved });
    }
    const endedAt = this.#now();
    const totalMs = Date.parse(endedAt) - Date.parse(ready.startedAt);
    return { vmId, vm, host, running: ready.running, startedAt: ready.startedAt, endedAt, totalMs, disks };
  }

  async #plan(): Promise<ReadyMove> {
    const { signal } = this.#context;
    const { vmId, host, pool, disks, format, vm } = this.#input;
    const side = this.#host();
    const [source, room] = [await side.source(vmId, { signal }), await side.pool(pool, { signal })];
    const facts = { vm: source, host, disks, pool, format, room };
    const draft = planStorageMove(facts, () => false);
    const taken = new Map<string, boolean>();
    for (const { name } of draft.copies) taken.set(name, await side.volumeTaken(pool, name, { signal }));
    const plan: StoragePlan = planStorageMove(facts, (name) => taken.get(name) ?? false);
    if (plan.checks.some(({ verdict }) => verdict === "fail")) throw refusal(`the disks of ${vm} cannot move to ${pool}`, plan.checks);
    return { running: source.vm.state === "running", startedAt: this.#now(), copies: plan.copies };
  }

  /** One disk; resolves with the milliseconds that it took. Whatever was not switched over is undone. */
  async #move(copy: DiskCopy, { running }: ReadyMove, done: readonly MovedDisk[]): Promise<number> {
    const { target } = copy;
    const ended = this.#context.recorded(`done:${target}`)?.output as { readonly totalMs: number } | undefined;
    if (ended) return ended.totalMs;
    const begun = this.#context.recorded(`copy:${target}`)?.output as { readonly at: string } | undefined;
    const at = begun?.at ?? this.#now();
    let failure: unknown;
    try {
      this.#context.signal.throwIfAborted();
      if (running) await this.#copyRunning(copy, begun !== undefined, at);
      else await this.#copyOff(copy, begun !== undefined, at);
    } catch (error) {
      this.#context.stopping.throwIfAborted();
      failure = error;
      this.#context.log("warn", `the copy of ${target} ended: ${describeError(error)}`);
    }
    if (!(await this.#isSwitched(copy))) {
      if (!running) await this.#putBack(copy);
      await this.#giveUp(copy, failure, done);
    }
    await this.#delete(copy.from, "the original");
    const totalMs = Date.parse(this.#now()) - Date.parse(at);
    await this.#context.note(`done:${target}`, { totalMs });
    await this.#lookAgain();
    return totalMs;
  }

  /** A copy that a dead server began goes on in the guest's own process: it is taken up again. */
  async #copyRunning(copy: DiskCopy, begun: boolean, at: string): Promise<void> {
    const { signal } = this.#context;
    const { vmId, bandwidthBytesPerSecond } = this.#input;
    const side = this.#host();
    const { phase } = await side.copyState(vmId, copy, { signal });
    if (phase === "switched") return;
    if (phase === "absent" && begun) throw new EngineError("interrupted", `the copy of ${copy.target} ended with the server that began it`);
    await this.#context.note(`copy:${copy.target}`, { at });
    if (phase === "absent") await side.beginCopy(vmId, copy, { signal, bandwidthBytesPerSecond });
    await this.#untilReady(copy);
    await this.#context.note(`switch:${copy.target}`, { at: this.#now() });
    await side.switchOver(vmId, copy, { signal });
  }

  async #untilReady(copy: DiskCopy): Promise<void> {
    const { signal } = this.#context;
    const { clock } = this.#migrations.options;
    let [bytes, movedAt] = [-1, clock.monotonic()];
    for (;;) {
      const state: DiskCopyState = await this.#host().copyState(this.#input.vmId, copy, { signal });
      if (state.phase === "ready" || state.phase === "switched") return;
      if (state.phase === "absent") throw new EngineError("hypervisor", `the hypervisor gave the copy of ${copy.target} up`);
      if (state.doneBytes !== bytes) [bytes, movedAt] = [state.doneBytes, clock.monotonic()];
      if (clock.monotonic() - movedAt > stallMs)
        throw new EngineError("timeout", `no byte of ${copy.target} was copied for ${stallMs / 1000} s, so it was given up`);
      this.#show(copy, state.doneBytes, state.totalBytes);
      await clock.sleep(pollMs, { signal });
    }
  }

  /** A half-made image is of no use: one that a dead server began is made anew by the next job. */
  async #copyOff(copy: DiskCopy, begun: boolean, at: string): Promise<void> {
    const { signal } = this.#context;
    const { vmId, vm } = this.#input;
    const side = this.#host();
    if ((await side.copyState(vmId, copy, { signal })).phase === "switched") return;
    if (begun) throw new EngineError("interrupted", `the copy of ${copy.target} ended with the server that began it`);
    const before = await side.writtenMark(copy.from, { signal });
    await this.#context.note(`copy:${copy.target}`, { at });
    this.#show(copy, 0, copy.capacityBytes);
    await side.convert(copy, { signal });
    await this.#makeDurable(copy);
    const { presence } = await side.sighting(vmId, { signal });
    if (presence !== "inactive" || (await side.writtenMark(copy.from, { signal })) !== before)
      throw new EngineError("conflict", `${vm} was started while its disk was copied`, { vm });
    await this.#context.note(`switch:${copy.target}`, { at: this.#now() });
    await side.redefine(vmId, { disks: [{ target: copy.target, path: copy.to, format: copy.format }], networks: {} }, { signal });
  }

  /** libvirt's converter leaves the new image in the page cache; the original must not go before it is on disk. */
  async #makeDurable({ to }: DiskCopy): Promise<void> {
    const shell = this.#migrations.shell(this.#input.hostId);
    if (shell) await makeDurable({ shell, path: to }, { clock: this.#migrations.options.clock, signal: this.#context.signal });
    else
      await this.#context.reason({
        code: "not-synced",
        text: `whether ${to} is on stable storage could not be made sure: the host has no shell`,
      });
  }

  /** Asks until the host says which image the VM uses: nothing may be deleted before. */
  async #isSwitched(copy: DiskCopy): Promise<boolean> {
    const { stopping } = this.#context;
    const { clock } = this.#migrations.options;
    const { vmId, vm } = this.#input;
    for (let look = 1; ; look += 1) {
      try {
        const { phase } = await this.#host().copyState(vmId, copy, { signal: stopping });
        if (phase === "switched") return true;
        if (phase === "absent") return false;
        await this.#host().abortCopy(vmId, copy, { signal: stopping });
      } catch (error) {
        stopping.throwIfAborted();
        if (error instanceof EngineError && error.kind === "not-found")
          throw new EngineError("not-found", `${vm} is no longer there; ${copy.from} and ${copy.to} both stay`, { vm }, { cause: error });
        this.#context.log("warn", `which image ${copy.target} uses could not be asked: ${describeError(error)}`);
      }
      if (look >= looks * 15)
        throw new EngineError(
          "host-lost",
          `which image ${copy.target} of ${vm} uses is not known; both stay: ${copy.from} and ${copy.to}`,
          { vm },
        );
      await clock.sleep(1000, { signal: stopping });
    }
  }

  /** A VM that was started in the moment before its definition was changed has the original, and would start from the copy next. */
  async #putBack({ target, from, format, fromFormat = format }: DiskCopy): Promise<void> {
    if (!this.#context.recorded(`switch:${target}`)) return;
    const mapping = { disks: [{ target, path: from, format: fromFormat }], networks: {} };
    await this.#host().redefine(this.#input.vmId, mapping, { signal: this.#context.stopping });
  }

  async #giveUp(copy: DiskCopy, failure: unknown, done: readonly MovedDisk[]): Promise<never> {
    const { vm } = this.#input;
    if (this.#context.recorded(`copy:${copy.target}`)) await this.#delete(copy.to, "the copy");
    const before = done.length === 0 ? "" : `; ${done.map(({ target }) => target).join(", ")} had been moved before`;
    const where = `disk ${copy.target} of ${vm} is ${copy.from} as before${before}`;
    if (this.#context.signal.aborted) throw new CancelledError(`cancelled; ${where}`, { cause: this.#context.signal.reason });
    const kind = failure instanceof EngineError ? failure.kind : "hypervisor";
    throw new EngineError(kind, where, { vm, disk: copy.target }, { cause: failure });
  }

  /** A file that libvirt is still writing cannot be deleted yet. */
  async #delete(path: string, what: string): Promise<void> {
    const { stopping } = this.#context;
    const { clock } = this.#migrations.options;
    for (let look = 1; ; look += 1) {
      const left = await this.#host()
        .deleteDisks([path], { signal: stopping })
        .catch((error: unknown) => [{ path, reason: describeError(error) }]);
      stopping.throwIfAborted();
      const [still] = left;
      if (!still) return;
      if (look >= looks)
        return await this.#context.reason({ code: "disk-left", text: `${what} ${path} is still on ${this.#input.host}: ${still.reason}` });
      await clock.sleep(500, { signal: stopping });
    }
  }

  async #lookAgain(): Promise<void> {
    const { hostId, vmId } = this.#input;
    await this.#migrations.options.hosts.refreshVm(hostId, vmId, { signal: this.#context.stopping }).catch(() => undefined);
  }

  #host(): HostMigration {
    const { hosts, open } = this.#migrations.options;
    return open(hosts.hypervisor(this.#input.hostId));
  }

  #show({ target, pool }: DiskCopy, done: number, total: number): void {
    const phase = `copying ${target} to ${pool}`;
    this.#context.progress({
      phase,
      fraction: done / Math.max(1, total),
      diskTotalBytes: total,
      diskRemainingBytes: Math.max(0, total - done),
    });
  }

  #now(): string {
    return new Date(this.#migrations.options.clock.now()).toISOString();
  }
}
