import { CancelledError, describeError } from "@godwit/core";
import { basename } from "node:path";
import type { JobContext } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { HostMigration } from "../ports/migration.ts";
import type { CopiedFile, Mapping } from "../ports/offline.ts";
import { type CarriedFile, Carrier } from "./carriage.ts";
import { makeDurable } from "./durable.ts";
import { deleteDisks, Evidence } from "./evidence.ts";
import type { FileProof, MigrationAttempt, MigrationInput, MigrationResult, ReadyPlan } from "./model.ts";
import { proofSentence } from "./proof.ts";
import { type OfflineSettled, settleStandstill } from "./offline-settle.ts";
import type { OfflineStage } from "./offline-truth.ts";
import type { Migrations } from "./service.ts";
import { SmallFiles } from "./small-files.ts";
import { seeVm } from "./settle.ts";

type Context = JobContext<MigrationInput>;

/** The network that files went over, when they did not go through the server. */
interface Way extends Required<Pick<MigrationResult, "networkId" | "network" | "destinationAddress">> {
  readonly attempts: readonly MigrationAttempt[];
}

/**
 * Moves a VM that stands still: one that is off (cold), or one whose memory is saved, moved and restored (quick).
 * Every stage is on record before it begins. However it ends, and also after a server's death, both hosts are
 * asked: before the hand-over all is undone, after it all is finished.
 */
export class OfflineRun {
  readonly #migrations: Migrations;
  readonly #context: Context;
  readonly #input: MigrationInput;
  readonly #patienceMs: number;
  readonly #evidence: Evidence;
  readonly #carrier: Carrier;
  readonly #smallFiles: SmallFiles;

  constructor(migrations: Migrations, context: Context, patienceMs: number) {
    this.#migrations = migrations;
    this.#context = context;
    this.#input = context.input;
    this.#patienceMs = patienceMs;
    this.#evidence = new Evidence(migrations, context);
    this.#carrier = new Carrier(migrations, context);
    this.#smallFiles = new SmallFiles(migrations, context);
  }

  async run(): Promise<MigrationResult> {
    const context = this.#context;
    const begun = this.#stage() !== "begun";
    if (!begun) context.signal.throwIfAborted();
    const ready = await context.step("plan", () => this.#migrations.ready(this.#input, { signal: context.signal }));
    if (begun) return this.#afterRestart(ready);
    if (ready.plan.forecast) await context.reason({ code: "forecast", text: `forecast: ${ready.plan.forecast.text}` });
    await this.#evidence.begin();
    let failure: unknown;
    try {
      await this.#forward(ready);
    } catch (error) {
      context.stopping.throwIfAborted();
      failure = error;
      context.log("warn", `the move ended: ${describeError(error)}`);
    }
    const settled = await this.#settle(ready);
    if (settled.at === "destination") return this.#finish(ready);
    await this.#undo(ready, settled);
    const where = this.#where(settled);
    if (context.signal.aborted) throw new CancelledError(`cancelled; ${where}`, { cause: context.signal.reason });
    throw new EngineError("hypervisor", `${this.#input.vm} was not moved; ${where}`, { vm: this.#input.vm }, { cause: failure });
  }

  async #afterRestart(ready: ReadyPlan): Promise<MigrationResult> {
    this.#context.log("warn", "the server ended during the move; looking up where the VM is");
    const settled = await this.#settle(ready);
    if (settled.at === "destination") return this.#finish(ready);
    await this.#undo(ready, settled);
    const where = this.#where(settled);
    if (this.#context.cancelRequested) throw new CancelledError(`cancelled; ${where}`);
    const { vm } = this.#input;
    throw new EngineError("interrupted", `${vm} was not moved: the server ended during the move; ${where}`, { vm });
  }

  #where({ at, text, memoryLost }: OfflineSettled): string {
    const { vm, source, kind } = this.#input;
    if (at !== "source" || memoryLost === true || this.#stage() === "released") return text;
    return kind === "cold" ? `${vm} is on ${source} as before` : `${text} (${source})`;
  }

  async #forward(ready: ReadyPlan): Promise<void> {
    const { signal } = this.#context;
    const { vmId, kind } = this.#input;
    const [source, destination] = [this.#side("source"), this.#side("destination")];
    if (kind === "quick") await this.#save(ready, source);
    const marks = await this.#marks(ready, source);
    await this.#copy(ready, source);
    const mapping: Mapping = {
      disks: ready.copies.map(({ target }, at) => ({ target, path: ready.copyPaths[at] ?? "" })),
      networks: this.#input.networkMap ?? {},
      ...(ready.addGenerationId === true && kind === "cold" && { generationId: true }),
    };
    await this.#reach("defining");
    await destination.define(await source.carried(vmId, { signal }), mapping, { signal });
    await this.#stillOff(source, marks, await this.#marks(ready, source));
    if (kind === "quick") {
      await this.#reach("restoring");
      this.#show("restoring its memory", 0.9);
      const { memory } = ready;
      await destination.restore(memory?.copyTo?.path ?? memory?.path ?? "", mapping, { signal });
    }
    signal.throwIfAborted();
    await this.#reach("released");
    if (kind !== "quick") return;
    await destination.resume(vmId, { signal: this.#context.stopping });
    await this.#context.note("resumed", { at: this.#now() });
  }

  async #save(ready: ReadyPlan, source: HostMigration): Promise<void> {
    await this.#reach("saving");
    const { signal } = this.#context;
    await source.save(this.#input.vmId, ready.memory?.path ?? "", {
      signal,
      progress: (done, total) => this.#show("saving its memory", (0.4 * done) / Math.max(1, total)),
    });
    signal.throwIfAborted();
  }

  async #marks({ sourcePaths }: ReadyPlan, source: HostMigration): Promise<string[]> {
    const { signal } = this.#context;
    return await Promise.all(sourcePaths.map((path) => source.writtenMark(path, { signal })));
  }

  /** From host to host where that can be, else through the server. */
  async #copy(ready: ReadyPlan, source: HostMigration): Promise<void> {
    const { memory, plan, copyPaths } = ready;
    const disks: CarriedFile[] = plan.copies.map(({ from, pool }, at) => ({ from, pool, name: basename(from), to: copyPaths[at] ?? "" }));
    const files = memory?.copyTo === undefined ? disks : [...disks, { from: memory.path, ...memory.copyTo, to: memory.copyTo.path }];
    const small = ready.smallFiles ?? [];
    if (files.length + small.length === 0) return;
    await this.#reach("copying");
    await this.#smallFiles.carry(small);
    if (files.length === 0) return;
    const carried = await this.#carrier.carry(files, plan.networks);
    if (carried) {
      const { networkId, network, destinationAddress } = carried.network;
      const way: Way = { networkId, network, destinationAddress: destinationAddress ?? "", attempts: carried.attempts };
      await this.#context.note("way", way);
    }
    await this.#context.note("files", carried?.files ?? (await this.#throughServer(files, source, ready)));
  }

  async #throughServer(files: readonly CarriedFile[], source: HostMigration, { memory }: ReadyPlan): Promise<FileProof[]> {
    const { signal } = this.#context;
    const destination = this.#migrations.options.hosts.hypervisor(this.#input.destinationId);
    const proofs: FileProof[] = [];
    for (const [at, { from, pool, name }] of files.entries()) {
      const progress = (done: number, total: number): void =>
        this.#show(`copying ${from} through the server`, 0.4 + (0.5 * (at + done / Math.max(1, total))) / files.length);
      const copied: CopiedFile = await source.copyTo(destination, { from, pool, name }, { signal, progress });
      if (copied.path !== memory?.copyTo?.path) await this.#makeDurable(copied.path);
      proofs.push({ from, to: copied.path, bytes: copied.bytes, dataBytes: copied.dataBytes, digest: copied.digest });
    }
    return proofs;
  }

  /**
   * What libvirt took in is in the destination's page cache; the original must not go before it is on disk. Memory, while
   * which is copied the guest stands still, is needed no longer than the host is up.
   */
  async #makeDurable(path: string): Promise<void> {
    const { destinationId, destination } = this.#input;
    const shell = this.#migrations.shell(destinationId);
    if (shell) return await makeDurable({ shell, path }, { clock: this.#migrations.options.clock, signal: this.#context.signal });
    const text = `whether ${path} is on stable storage could not be made sure: ${destination} has no shell`;
    await this.#context.reason({ code: "not-synced", text });
  }

  /** A disk that was written since, by a VM that somebody started and stopped again, makes a torn copy. */
  async #stillOff(source: HostMigration, before: readonly string[], now: readonly string[]): Promise<void> {
    const { vm, vmId, source: name } = this.#input;
    const { presence } = await source.sighting(vmId, { signal: this.#context.signal });
    if (presence !== "inactive") throw new EngineError("conflict", `${vm} was started on ${name} while it was moved`, { vm });
    if (before.some((mark, at) => mark !== now[at]))
      throw new EngineError("conflict", `a disk of ${vm} was written on ${name} while it was copied`, { vm });
  }

  async #settle(ready: ReadyPlan): Promise<OfflineSettled> {
    const settled = await settleStandstill(this.#migrations, this.#input, {
      signal: this.#context.stopping,
      patienceMs: this.#patienceMs,
      log: (text) => this.#context.log("info", text),
      memory: ready.memory,
      clear: (sides) => this.#carrier.clear(sides),
      stage: () => this.#stage(),
      reach: (stage) => this.#reach(stage),
    });
    const { sourceId, destinationId, vmId } = this.#input;
    const signal = this.#context.stopping;
    const { hosts } = this.#migrations.options;
    await Promise.all([sourceId, destinationId].map((id) => hosts.refreshVm(id, vmId, { signal }).catch(() => undefined)));
    return settled;
  }

  /** The copies go. Saved memory goes only when the guest runs on from it, or has gone on without it. */
  async #undo(ready: ReadyPlan, { at, memoryLost, memoryStale }: OfflineSettled): Promise<void> {
    if (at !== "source") return;
    const { sourceId, destinationId, destination, vmId } = this.#input;
    if (this.#stage() === "released") {
      const kept = [...ready.copyPaths, ...memoryPaths(ready)].join(", ");
      const text = `it was handed over, and may have run from what was copied to ${destination}: nothing was deleted (${kept})`;
      return kept === "" ? undefined : await this.#context.reason({ code: "disk-left", text });
    }
    await this.#smallFiles.undo();
    const there = ready.memory?.copyTo === undefined ? [] : [ready.memory.copyTo.path];
    if (this.#context.recorded("stage:copying")) await this.#delete(destinationId, [...ready.copyPaths, ...there], "the copy");
    const { sighting } = await seeVm(this.#migrations, sourceId, { vmId }, this.#context.stopping);
    const useless = sighting.presence === "running" || memoryStale === true;
    if (memoryLost !== true && useless && this.#context.recorded("stage:saving")) await this.#deleteMemory(ready);
  }

  /** It lies beside a disk that both hosts share, which need not be in a pool; and it is all that the guest knew. */
  async #deleteMemory({ memory }: ReadyPlan): Promise<void> {
    if (!memory) return;
    const { sourceId } = this.#input;
    const { stopping } = this.#context;
    try {
      const shell = this.#migrations.shell(sourceId);
      if (shell && (await shell.run(["rm", "-f", "--", memory.path], { signal: stopping })).code === 0) return;
    } catch (error) {
      stopping.throwIfAborted();
      this.#context.log("warn", `${memory.path} could not be removed by the host's shell: ${describeError(error)}`);
    }
    await this.#delete(sourceId, [memory.path], "the saved memory");
  }

  /** Handed over, and then its process ended before anybody saw it run: nothing is deleted that somebody may need. */
  async #assertRuns(ready: ReadyPlan): Promise<void> {
    const { destinationId, vmId, vm, destination, kind } = this.#input;
    if (kind !== "quick") return;
    const { sighting } = await seeVm(this.#migrations, destinationId, { vmId }, this.#context.stopping);
    if (sighting.presence !== "inactive") return;
    const kept = [...memoryPaths(ready), ...ready.sourcePaths].join(", ");
    throw new EngineError("hypervisor", `${vm} is on ${destination}, but off: its process ended as it was let run; ${kept} were kept`, {
      vm,
    });
  }

  async #finish(ready: ReadyPlan): Promise<MigrationResult> {
    const { sourceId, destinationId, vmId, vm, source, destination, kind } = this.#input;
    await this.#assertRuns(ready);
    const interfaces = await this.#evidence.interfaces();
    if (ready.autostart) await this.#side("destination").setAutostart(vmId, true, { signal: this.#context.stopping });
    await this.#delete(sourceId, ready.sourcePaths, "the original");
    await this.#deleteMemory(ready);
    await this.#smallFiles.finish();
    if (ready.memory?.copyTo !== undefined) await this.#delete(destinationId, [ready.memory.copyTo.path], "the saved memory");
    const files = (this.#context.recorded("files")?.output ?? []) as FileProof[];
    const way = this.#context.recorded("way")?.output as Way | undefined;
    const startedAt =
      this.#recordedAt("stage:saving") ?? this.#recordedAt("stage:copying") ?? this.#recordedAt("stage:defining") ?? this.#now();
    const resumedAt = this.#recordedAt("resumed");
    const endedAt = this.#now();
    return {
      vmId,
      vm,
      source,
      destination,
      kind: kind === "cold" ? "cold" : "quick",
      driver: "server",
      attempts: [],
      ...way,
      startedAt,
      endedAt,
      totalMs: Date.parse(endedAt) - Date.parse(startedAt),
      ...(kind === "quick" && resumedAt !== undefined && { pauseMs: Date.parse(resumedAt) - Date.parse(startedAt) }),
      ...(ready.plan.forecast && { forecast: ready.plan.forecast }),
      memoryBytes: files.find(({ from }) => from === ready.memory?.path)?.dataBytes ?? 0,
      diskBytes: files.filter(({ from }) => from !== ready.memory?.path).reduce((sum, file) => sum + file.dataBytes, 0),
      interfaces,
      files,
      proof: this.#proofOf(files, way, interfaces),
    };
  }

  #proofOf(files: readonly FileProof[], way: Way | undefined, interfaces: MigrationResult["interfaces"]): string {
    if (files.length === 0) return "nothing was copied: both hosts use the same files";
    const movedBytes = files.reduce((sum, file) => sum + file.dataBytes, 0);
    const what = `${files.length} file${files.length === 1 ? "" : "s"}, ${(movedBytes / 2 ** 20).toFixed(1)} MiB of data`;
    if (!way) return `${what}, copied through the server; each was read back and is the same`;
    const { sourceId, destinationId } = this.#input;
    const sentence = proofSentence(interfaces, { sourceId, destinationId, networkId: way.networkId, movedBytes });
    return `${sentence}; ${what}, each compared by both hosts and the same`;
  }

  async #delete(hostId: string, paths: readonly string[], name: string): Promise<void> {
    await deleteDisks(this.#migrations, this.#context, { hostId, paths, name });
  }

  #side(which: "source" | "destination"): HostMigration {
    const { hosts, open } = this.#migrations.options;
    return open(hosts.hypervisor(which === "source" ? this.#input.sourceId : this.#input.destinationId));
  }

  #stage(): OfflineStage {
    return (this.#context.recorded("stage")?.output as { readonly stage: OfflineStage } | undefined)?.stage ?? "begun";
  }

  async #reach(stage: OfflineStage): Promise<void> {
    await this.#context.note(`stage:${stage}`, { at: this.#now() });
    await this.#context.note("stage", { stage });
  }

  #recordedAt(name: string): string | undefined {
    return (this.#context.recorded(name)?.output as { readonly at: string } | undefined)?.at;
  }

  #show(phase: string, fraction: number): void {
    this.#context.progress({ phase, fraction: Math.min(1, fraction) });
  }

  #now(): string {
    return new Date(this.#migrations.options.clock.now()).toISOString();
  }
}

function memoryPaths({ memory }: ReadyPlan): string[] {
  return memory === undefined ? [] : [memory.path];
}
