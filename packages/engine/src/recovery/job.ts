import { describeError, Semaphore } from "@godwit/core";
import { type Point, prepareThreads, type Vault } from "@godwit/vault";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError, refusal } from "../model/errors.ts";
import type { Reason } from "../model/reason.ts";
import type { BackupFacts, ExportRoute } from "../ports/backup.ts";
import type { DefinedVm, HostRecovery, ImagePlace } from "../ports/recovery.ts";
import { serverSlot } from "../protection/at-once.ts";
import { CHECKPOINT_FILE } from "../protection/model.ts";
import { checkpointName } from "../protection/names.ts";
import type { RecoveredDisk, RecoverInput, RecoverResult } from "./model.ts";
import { judgeRecovery } from "./preflight.ts";
import { Routes } from "./routes.ts";
import type { Recoveries } from "./service.ts";

type Context = JobContext<RecoverInput>;

interface Planned {
  /** Where the disks go; of an in-place recovery the images that are there. */
  readonly images: readonly (ImagePlace & { readonly name?: string })[];
  readonly keptAside: readonly string[];
  /** Disks among these of which the recovery point knows nothing, and which the VM loses. */
  readonly dropped?: readonly string[];
}

/** Disks that are written at the same time. */
const parallelDisks = 2;

/**
 * The job that brings a VM, or disks of it, back. Every image is checked chunk by chunk as it is written; the VM is
 * defined last, so a recovery that ends early leaves no VM that lacks something. An attempt that follows a server's
 * death goes on where that one was, and writes only what is missing.
 */
export function recoverJob(recoveries: Recoveries): JobKind<RecoverInput> {
  return {
    kind: "vm.recover",
    title: ({ captured, vm, host, mode }) =>
      mode === "in-place" ? `recover ${vm} in place on ${host}` : `recover ${captured} as ${vm} on ${host}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: () => [serverSlot("recoveries", recoveries.options.atOnce)],
    run: (context) => new Run(recoveries, context).run(),
  };
}

function movedOf(staying: readonly string[], then: DefinedVm, now: BackupFacts): string[] {
  return staying.filter((target) => {
    const was = then.disks.find((disk) => disk.target === target)?.path;
    return was !== undefined && was !== now.disks.find((disk) => disk.target === target)?.path;
  });
}

class Run {
  readonly #recoveries: Recoveries;
  readonly #context: Context;
  readonly #input: RecoverInput;
  readonly #startedAt: number;
  #routes: Routes | undefined;

  constructor(recoveries: Recoveries, context: Context) {
    this.#recoveries = recoveries;
    this.#context = context;
    this.#input = context.input;
    this.#startedAt = recoveries.options.clock.monotonic();
  }

  async run(): Promise<RecoverResult> {
    try {
      return await this.#attempt();
    } catch (error) {
      await this.#undo();
      throw error;
    }
  }

  async #attempt(): Promise<RecoverResult> {
    const { signal } = this.#context;
    const { captures } = this.#recoveries.options;
    const { traffic } = captures.options;
    const { hostId } = this.#input;
    const routing = traffic.routes(hostId, (options) => captures.backup(hostId).tls(options), { signal });
    routing.catch(() => undefined);
    const meter = traffic.meter(hostId, { signal });
    // Started now, they are there when the writing begins.
    prepareThreads();
    await using opened = await this.#recoveries.openVault(this.#input, { signal });
    const { vault } = opened;
    const point = await vault.point(this.#input.pointId, { signal });
    const host = this.#recoveries.recovery(this.#input.hostId);
    const planned = await this.#context.step("plan", () => this.#plan(host, point));
    const routes = (this.#routes = new Routes(await routing, (route, why) => traffic.lost(hostId, route, why)));
    await this.#context.reason(routes.now.reason);
    const disks = await this.#write(host, vault, point, planned);
    const counted = meter.read({ signal });
    counted.catch(() => undefined);
    const result = await this.#finish(host, point, planned, disks);
    return { ...result, route: routes.now, interfaces: await counted };
  }

  async #plan(host: HostRecovery, point: Point): Promise<Planned> {
    const { input, signal } = this.#context;
    const { captures } = this.#recoveries.options;
    const existing = input.mode === "in-place" || input.mode === "replace";
    const facts = existing ? await captures.backup(input.hostId).facts(input.vmId, { signal }) : undefined;
    const there =
      point.machine &&
      (await host.judge(
        point.machine.definition,
        { id: input.vmId, name: input.vm, networks: input.networks, pool: input.storagePool },
        { signal },
      ));
    const wanted = point.disks.filter(({ name }) => input.disks === undefined || input.disks.includes(name));
    const staying = point.disks.filter((disk) => !wanted.includes(disk)).map(({ name }) => name);
    const present = facts && {
      state: facts.state,
      savedMemory: await host.savedMemory(input.vmId, { signal }),
      sizes: new Map(facts.disks.map(({ target, capacityBytes }) => [target, capacityBytes])),
      moved: point.machine ? movedOf(staying, host.defined(point.machine.definition), facts) : [],
    };
    const checks = judgeRecovery({ input, point, there, present });
    if (checks.some(({ verdict }) => verdict === "fail")) throw refusal(`${input.captured} cannot be recovered to ${input.host}`, checks);
    for (const { id, verdict, text } of checks) if (verdict === "warn") await this.#context.reason({ code: id, text });
    if (input.mode === "in-place") {
      const images = wanted.map(({ name }) => {
        const disk = facts?.disks.find(({ target }) => target === name);
        return { target: name, path: disk?.path ?? "", format: disk?.format ?? "raw" };
      });
      return { images, keptAside: [] };
    }
    const suffix = this.#context.id.slice(0, 6);
    const images = wanted.map(({ name }) => ({ target: name, path: "", format: "qcow2", name: `${input.vm}-${name}-${suffix}.qcow2` }));
    const old = facts?.disks.filter(({ target }) => !staying.includes(target)) ?? [];
    const dropped = old.filter(({ target }) => !wanted.some(({ name }) => name === target));
    return { images, keptAside: old.flatMap(({ path }) => path ?? []), dropped: dropped.map(({ target }) => target) };
  }

  /** Writes all disks, two at a time. */
  async #write(host: HostRecovery, vault: Vault, point: Point, { images }: Planned): Promise<RecoveredDisk[]> {
    const places = new Semaphore(parallelDisks);
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#context.signal, failed.signal]);
    const writing = images.map(async (image) => {
      using _place = await places.acquire({ signal });
      try {
        return await this.#context.step(`write ${image.target}`, () => this.#writeDisk({ host, vault, point }, image, signal));
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
    await Promise.allSettled(writing);
    return await Promise.all(writing);
  }

  async #writeDisk(
    of: { host: HostRecovery; vault: Vault; point: Point },
    image: Planned["images"][number],
    signal: AbortSignal,
  ): Promise<RecoveredDisk> {
    const { host, vault, point } = of;
    const { storagePool = "" } = this.#input;
    const size = point.disks.find(({ name }) => name === image.target)?.size ?? 0;
    const again = this.#context.recorded(`image ${image.target}`) !== undefined;
    await this.#context.note(`image ${image.target}`, { name: image.name });
    const path =
      image.name === undefined
        ? image.path
        : await host.createImage({ pool: storagePool, name: image.name, capacityBytes: size }, { signal });
    const place = { ...image, path };
    const key = this.#keyOf(image.target);
    const written = await this.#routes!.through(this.#context, async (route, anew) => {
      // What the server before left open may be served by another route than this one.
      if (anew || again) await host.closeImages(key, { signal });
      const fresh = image.name !== undefined;
      return await this.#copy({ host, vault, point, place, key, route, fresh, present: again || anew || !fresh }, signal);
    });
    await host.closeImages(key, { signal });
    return { target: image.target, path, sizeBytes: size, ...written };
  }

  async #copy(
    of: {
      host: HostRecovery;
      vault: Vault;
      point: Point;
      place: ImagePlace;
      key: string;
      route: ExportRoute;
      fresh: boolean;
      present: boolean;
    },
    signal: AbortSignal,
  ): Promise<{ writtenBytes: number; keptBytes: number }> {
    const { host, vault, point, place, key } = of;
    await using sink = await host.openImage(key, place, { signal, route: of.route, direct: of.fresh });
    await using source = of.present ? await host.readImage(key, place, { signal }) : undefined;
    const { writtenBytes, keptBytes } = await vault.restore(point, place.target, sink, {
      signal,
      ...(source ? { present: source } : { blank: true }),
      onProgress: ({ offset, size }) => {
        this.#context.progress({
          phase: `writing ${place.target}`,
          fraction: offset / size,
          diskTotalBytes: size,
          diskRemainingBytes: size - offset,
        });
      },
    });
    return { writtenBytes, keptBytes };
  }

  async #finish(
    host: HostRecovery,
    point: Point,
    { keptAside, dropped = [] }: Planned,
    disks: readonly RecoveredDisk[],
  ): Promise<Omit<RecoverResult, "route" | "interfaces">> {
    const { input, signal } = this.#context;
    const tracking = await this.#context.step("track", () => this.#track(host, point, disks));
    if (input.mode === "new" || input.mode === "replace") await this.#context.step("define", () => this.#define(host, point, disks));
    if (input.mode === "in-place") await this.#context.step("generation-id", () => host.generationId(input.vmId, { signal }));
    if (keptAside.length > 0) await this.#context.step("keep aside", () => this.#keepAside(keptAside, dropped));
    if (input.start && input.mode !== "disk") await this.#context.step("start", () => this.#start(signal));
    return {
      outcome: "recovered",
      mode: input.mode,
      pointId: point.id,
      vault: input.vault,
      at: point.time,
      vmId: input.vmId,
      vm: input.vm,
      host: input.host,
      disks,
      keptAside,
      started: input.start && input.mode !== "disk",
      tracking,
      totalMs: Math.round(this.#recoveries.options.clock.monotonic() - this.#startedAt),
    };
  }

  async #keepAside(paths: readonly string[], dropped: readonly string[]): Promise<void> {
    const { id, input } = this.#context;
    const { kept, clock } = this.#recoveries.options;
    const { vmId, vm, hostId, host, keepOld } = input;
    const since = new Date(clock.now()).toISOString();
    // What no recovery point of this VM may hold goes only when somebody says so.
    const asked = keepOld === true || dropped.length > 0;
    await kept.put(id, { id, vmId, vm, hostId, host, paths, since, until: asked ? "confirmed" : "boots" });
    const until = asked ? `until 'godwit recover confirm ${vm}'` : "until the VM has booted and its agent answers";
    const why = dropped.length > 0 ? `, as the VM had no ${dropped.join(", ")} when it was captured` : "";
    await this.#context.reason({ code: "kept-aside", text: `${paths.join(", ")}: kept ${until}${why}` });
  }

  /** From now on the hypervisor lists what changes after the point, so that the next capture need not read all. */
  async #track(host: HostRecovery, point: Point, disks: readonly RecoveredDisk[]): Promise<Reason> {
    const { input, signal, id } = this.#context;
    if (input.mode === "disk") return { code: "no-vm", text: "single images belong to no VM that could be captured" };
    if (input.mode === "in-place")
      return { code: "in-place", text: "the list of changes in its images goes on, and holds what was written now" };
    const checkpoint = checkpointName(input.vaultId, `${id}-recovered`);
    try {
      const images = disks.map(({ target, path }) => ({ target, path, format: "qcow2" }));
      const xml = await host.track(checkpoint, images, { signal });
      const { captures } = this.#recoveries.options;
      await captures.track({ vmId: input.vmId, vaultId: input.vaultId, pointId: point.id, checkpoint, xml });
      return { code: "tracked", text: `the next capture into ${input.vault} reads only what changes from now on` };
    } catch (error) {
      signal.throwIfAborted();
      return { code: "untracked", text: `the next capture reads and compares: ${describeError(error)}` };
    }
  }

  async #define(host: HostRecovery, point: Point, disks: readonly RecoveredDisk[]): Promise<void> {
    const { vmId: id, vm: name, newIdentity, networks } = this.#input;
    if (!point.machine) throw new EngineError("invalid", "the recovery point holds no definition");
    const files = point.machine.files.filter((file) => file.name !== CHECKPOINT_FILE);
    const definition = host.adapt(point.machine.definition, { id, name, newIdentity, networks, disks });
    await host.define(definition, files, { signal: this.#context.signal });
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { hosts } = this.#recoveries.options.captures.options;
    const hypervisor = hosts.hypervisor(this.#input.hostId);
    if ((await hypervisor.vm(this.#input.vmId, { signal })).state !== "off") return;
    await hypervisor.start(this.#input.vmId, { signal });
  }

  /**
   * Images that were made for a VM that will not be, by this attempt or the ones before it: an attempt may end before it
   * knows as much as they did. What was defined stays.
   */
  async #undo(): Promise<void> {
    const { stopping } = this.#context;
    stopping.throwIfAborted();
    const plan = this.#context.recorded("plan");
    if (plan?.state !== "done") return;
    const images = (plan.output as Planned).images.filter(({ target }) => this.#context.recorded(`image ${target}`));
    if (images.length === 0) return;
    try {
      const host = this.#recoveries.recovery(this.#input.hostId);
      for (const { target } of images) await host.closeImages(this.#keyOf(target), { signal: stopping });
      if (this.#input.mode === "in-place") {
        await this.#context.reason({
          code: "half-written",
          text: `${this.#input.vm} may hold parts of the point only: do not start it, recover it again`,
        });
        return;
      }
      const defined = this.#context.recorded("define")?.state;
      if (defined === "done") return;
      // The hypervisor may be about to do what it was not heard of; what it refused it has not done.
      if (defined !== undefined && this.#context.signal.aborted)
        return await this.#leftBehind("whether the VM was defined is not known, as that was interrupted");
      await this.#deleteImages(host, images);
    } catch (error) {
      stopping.throwIfAborted();
      await this.#leftBehind(describeError(error));
    }
  }

  async #leftBehind(why: string): Promise<void> {
    await this.#context.reason({ code: "left-behind", text: `images of the recovery may be left on ${this.#input.host}: ${why}` });
  }

  async #deleteImages(host: HostRecovery, images: Planned["images"]): Promise<void> {
    const { stopping } = this.#context;
    const { storagePool = "" } = this.#input;
    for (const { name } of images) {
      if (name === undefined) continue;
      const path = await host.createImage({ pool: storagePool, name, capacityBytes: 0 }, { signal: stopping });
      for (const { reason } of await host.deleteImages([path], { signal: stopping })) {
        await this.#context.reason({ code: "left-behind", text: `${path} is still on ${this.#input.host}: ${reason}` });
      }
    }
  }

  #keyOf(target: string): string {
    return `${this.#context.id}-${target}`;
  }
}
