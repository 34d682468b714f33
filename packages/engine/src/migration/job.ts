import { CancelledError, describeError } from "@godwit/core";
import type { JobContext, JobKind, JobSlot } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { Reason } from "../model/reason.ts";
import type { MovePhase, MoveProgress } from "../ports/migration.ts";
import {
  contractOf,
  copiesDisks,
  isOffline,
  type MigrationAttempt,
  type MigrationInput,
  type MigrationResult,
  type ReadyPlan,
  transportOf,
} from "./model.ts";
import { keptContract, outcomeOf, withoutReasons } from "./job-result.ts";
import { jobProgress } from "./progress.ts";
import { deleteDisks, Evidence } from "./evidence.ts";
import { OfflineRun } from "./offline-run.ts";
import { proofSentence } from "./proof.ts";
import type { Migrations } from "./service.ts";
import { peerUri, unlessStopping } from "./peer.ts";
import { SmallFiles } from "./small-files.ts";
import { findAndSettle, seeVm, type Settled } from "./settle.ts";
import type { TimedTurn } from "./turns.ts";

/** QEMU's own pause limit (qapi/migration.json, downtime-limit), milliseconds. */
const usualPauseMs = 300;
const limitMs = 2000;

/** How long a silent host is asked again after a move, milliseconds. */
const patienceMs = 5 * 60_000;

type Context = JobContext<MigrationInput>;

/** What one attempt over one network came to. */
interface Ended {
  readonly attempt: MigrationAttempt;
  readonly settled: Settled;
  readonly figures: MoveProgress | undefined;
  readonly error: unknown;
}

/**
 * The job that moves a VM. It plans, tries the networks in order, and after every end, good or bad, looks up
 * on the hosts where the VM is. An attempt that follows a server's death does not begin anew: it settles what
 * is there, and is done when the VM had arrived.
 */
export function migrationJob(migrations: Migrations, options: { readonly patienceMs?: number } = {}): JobKind<MigrationInput> {
  const patience = options.patienceMs ?? patienceMs;
  return {
    kind: "vm.migrate",
    title: (input) => `migrate ${input.vm} from ${input.source} to ${input.destination}${isOffline(input) ? ` (${input.kind})` : ""}`,
    subject: (input) => ({ type: "vm", id: input.vmId, name: input.vm }),
    locks: (input) => [`vm:${input.vmId}`],
    slots: (input) => slots(migrations, input),
    async run(context) {
      using _arriving = migrations.arriving(context.input);
      const Kind = isOffline(context.input) ? OfflineRun : Run;
      return await new Kind(migrations, context, patience).run();
    },
  };
}

function slots(migrations: Migrations, input: MigrationInput): JobSlot[] {
  const { networks } = migrations.options;
  const live = async (hostId: string): Promise<number> =>
    (await networks.liveMigration()).maximumParallelMigrations ?? (await networks.hostMigration(hostId)).maximumLiveMigrations;
  const storage = async (hostId: string): Promise<number> => (await networks.hostMigration(hostId)).maximumStorageMigrations;
  const ends = [
    { id: input.sourceId, name: input.source },
    { id: input.destinationId, name: input.destination },
  ];
  return ends.flatMap(({ id, name }) => [
    ...(input.kind === "cold" ? [] : [{ name: `live-migrations:${id}`, label: `live migrations on ${name}`, limit: () => live(id) }]),
    ...(!copiesDisks(input)
      ? []
      : [{ name: `storage-migrations:${id}`, label: `storage migrations on ${name}`, limit: () => storage(id) }]),
  ]);
}

class Run {
  readonly #migrations: Migrations;
  readonly #context: Context;
  readonly #input: MigrationInput;
  readonly #patienceMs: number;
  readonly #evidence: Evidence;
  readonly #smallFiles: SmallFiles;
  #turn: TimedTurn | undefined;
  /** A server that died may have made images, and not have come to removing them. */
  #madeByAnother = false;
  /** The inventory's look at both hosts, which what is left to do need not wait for. */
  #looking: Promise<void> = Promise.resolve();

  constructor(migrations: Migrations, context: Context, patience: number) {
    this.#migrations = migrations;
    this.#context = context;
    this.#input = context.input;
    this.#patienceMs = patience;
    this.#evidence = new Evidence(migrations, context);
    this.#smallFiles = new SmallFiles(migrations, context);
  }

  async run(): Promise<MigrationResult> {
    const context = this.#context;
    const begun = context.recorded("move")?.output as { readonly networkId: string } | undefined;
    if (begun === undefined) context.signal.throwIfAborted();
    const ready = await context.step("plan", () => this.#migrations.ready(this.#input, { signal: context.signal }));
    const chain = ready.plan.networks.filter((network) => network.rank !== undefined);
    if (begun !== undefined) return this.#afterRestart(ready, chain, begun.networkId);
    // What is told together is written down together, while the hosts are asked.
    await Promise.all([...this.#tell(ready, chain), this.#evidence.begin()]);
    return this.#tryNetworks(ready, chain);
  }

  #tell({ plan: { forecast, transport } }: ReadyPlan, chain: readonly NetworkVerdict[]): Promise<void>[] {
    const reasons: Reason[] = chain.map(({ verdict, network, reason }) => ({
      code: `network-${verdict}`,
      text: `${network}: ${reason.text}`,
    }));
    if (forecast) {
      reasons.push({ code: forecast.converges ? "forecast" : "forecast-doubt", text: `forecast: ${forecast.text}` });
      for (const { option, text } of forecast.options) reasons.push({ code: `option-${option}`, text: `instead: ${text}` });
    }
    reasons.push(...(transport?.reasons ?? []));
    return reasons.map((reason) => this.#context.reason(reason));
  }

  async #tryNetworks(ready: ReadyPlan, chain: readonly NetworkVerdict[]): Promise<MigrationResult> {
    const attempts: MigrationAttempt[] = [];
    for (const [index, network] of chain.entries()) {
      const ended = await this.#try(ready, network);
      attempts.push(ended.attempt);
      await this.#context.note("attempts", attempts);
      if (ended.settled.at === "destination") return this.#finish(ready, network, attempts, ended.figures);
      await this.#removeCopies(ready, ended.settled);
      this.#throwCancelled(ended);
      const next = chain[index + 1];
      if (ended.attempt.outcome !== "no-connection" || next === undefined || ended.settled.at !== "source")
        throw this.#failure(ended, attempts);
      await this.#context.reason({
        code: "next-network",
        text: `${network.network} does not connect (${ended.attempt.reason.text}); trying ${next.network}`,
      });
    }
    throw new EngineError("refused", `no network may carry ${this.#input.vm} to ${this.#input.destination}`, { vm: this.#input.vm });
  }

  #throwCancelled({ settled }: Ended): void {
    const { signal } = this.#context;
    if (!signal.aborted) return;
    const { vm, source } = this.#input;
    if (settled.at === "source" && signal.reason instanceof CancelledError)
      throw new CancelledError(`cancelled; ${vm} ${settled.paused === true ? "is paused" : "runs"} on ${source}`, { cause: signal.reason });
    signal.throwIfAborted();
  }

  #failure({ settled, error }: Ended, attempts: readonly MigrationAttempt[]): EngineError {
    const { vm, source } = this.#input;
    const here = settled.paused === true ? `it is on ${source}, paused` : `it runs on ${source} as before`;
    const where = settled.at === "source" ? here : settled.text;
    const why = attempts.length > 1 ? `none of ${attempts.length} networks carried it` : "the hypervisor gave it up";
    return new EngineError("hypervisor", `${vm} was not moved: ${why}; ${where}`, { vm, at: settled.at }, { cause: error });
  }

  async #try(ready: ReadyPlan, network: NetworkVerdict): Promise<Ended> {
    const { networkId, network: name, destinationAddress = "" } = network;
    const made = { networkId, network: name, destinationAddress };
    const silent = await this.#unreachable(network);
    if (silent !== undefined) {
      const settled: Settled = { at: "source", text: "nothing was begun" };
      return { attempt: { ...made, outcome: "no-connection", reason: silent }, settled, figures: undefined, error: new Error(silent.text) };
    }
    await this.#context.note("move", { networkId, startedAt: this.#now() });
    let figures: MoveProgress | undefined;
    let error: unknown;
    try {
      figures = await this.#move(ready, network);
    } catch (thrown) {
      this.#throwStopped();
      error = thrown;
      this.#context.log("warn", `the move over ${name} ended: ${describeError(thrown)}`);
    }
    const settled = await this.#settle();
    const attempt: MigrationAttempt = { ...made, ...outcomeOf(settled, error, this.#context.signal) };
    if (settled.at !== "destination") await this.#context.note("move", undefined);
    return { attempt, settled, figures, error };
  }

  /** A reason when the network is known not to connect at this very moment. */
  async #unreachable({ sourceAddress, destinationAddress }: NetworkVerdict): Promise<{ code: string; text: string } | undefined> {
    const shell = this.#migrations.shell(this.#input.sourceId);
    if (!shell || sourceAddress === undefined || destinationAddress === undefined) return undefined;
    const answer = await this.#migrations.reach.ask(shell, sourceAddress, destinationAddress, {
      sourceId: this.#input.sourceId,
      signal: this.#context.signal,
    });
    if (answer !== "silent") return undefined;
    return { code: "silent", text: `${destinationAddress} does not answer ${sourceAddress}` };
  }

  async #move(ready: ReadyPlan, network: NetworkVerdict): Promise<MoveProgress> {
    const { hosts, open } = this.#migrations.options;
    const input = this.#input;
    const context = this.#context;
    const destination = hosts.hypervisor(input.destinationId);
    const request = {
      vmId: input.vmId,
      destinationAddress: network.destinationAddress ?? "",
      copies: ready.copies,
      networks: input.networkMap ?? {},
      sharingProven: ready.sharingProven,
      contract: contractOf(input),
      switchoverMs: ready.plan.forecast?.switchoverMs,
      transport: ready.plan.transport ?? transportOf(input),
      bandwidthBytesPerSecond: input.bandwidthBytesPerSecond,
      peerUri: input.peerToPeer ? peerUri(hosts.host(input.destinationId).uri, input.destination) : undefined,
    };
    const shown = jobProgress(network.network);
    const turn = this.#migrations.switchovers.turn(input.destinationId, ready.plan.forecast);
    this.#turn = turn;
    using _turn = { [Symbol.dispose]: () => turn.end() };
    await this.#smallFiles.carry(ready.smallFiles);
    return await open(hosts.hypervisor(input.sourceId)).move(
      destination,
      request,
      {
        turn,
        shell: this.#migrations.shell(input.sourceId),
        phase: (phase) => this.#enter(phase),
        progress: (progress) => context.progress(shown(progress)),
      },
      { signal: input.peerToPeer ? unlessStopping(context) : context.signal },
    );
  }

  async #enter(phase: MovePhase): Promise<void> {
    if (phase === "finish") this.#evidence.sent();
    // The guest runs there: what is left takes next to nothing of the hosts.
    if (phase === "confirm") this.#context.freeSlots();
    await this.#context.note(`phase:${phase}`, { at: this.#now() });
  }

  async #settle(): Promise<Settled> {
    let settled = await findAndSettle(this.#migrations, this.#input, {
      signal: this.#context.stopping,
      patienceMs: this.#patienceMs,
      log: (text) => this.#context.log("info", text),
      suspended: this.#context.recorded("phase:suspend") !== undefined,
      cancel: this.#context.signal,
    });
    if (settled.at === "source" && this.#context.recorded("phase:suspend")) settled = await this.#goOn(settled);
    this.#looking = this.#lookAgain();
    if (settled.at !== "destination") await this.#looking;
    return settled;
  }

  /** A guest that was suspended for the rest of its memory, and then did not move. */
  async #goOn(settled: Settled): Promise<Settled> {
    const { sourceId, vmId, source } = this.#input;
    const asked = { signal: this.#context.stopping };
    const { sighting, migration } = await seeVm(this.#migrations, sourceId, { vmId }, asked.signal);
    if (sighting.presence !== "paused") return settled;
    await migration?.resume(vmId, asked);
    return { at: "source", text: `it runs on ${source} again` };
  }

  /** The inventory would notice by itself; asking now shows the truth at once. */
  async #lookAgain(): Promise<void> {
    const { sourceId, destinationId, vmId } = this.#input;
    const signal = this.#context.stopping;
    await Promise.all(
      [sourceId, destinationId].map((id) => this.#migrations.options.hosts.refreshVm(id, vmId, { signal }).catch(() => undefined)),
    );
  }

  async #afterRestart(ready: ReadyPlan, chain: readonly NetworkVerdict[], networkId: string): Promise<MigrationResult> {
    this.#context.log("warn", "the server ended during the move; looking up where the VM is");
    this.#madeByAnother = true;
    const settled = await this.#settle();
    const attempts = (this.#context.recorded("attempts")?.output ?? []) as MigrationAttempt[];
    const network = chain.find((one) => one.networkId === networkId) ?? chain[0];
    if (settled.at === "destination" && network) {
      const reason = { code: "carried", text: "it had arrived when the server came back" };
      const { network: name, destinationAddress = "" } = network;
      return this.#finish(
        ready,
        network,
        [...attempts, { networkId, network: name, destinationAddress, outcome: "carried", reason }],
        undefined,
      );
    }
    await this.#removeCopies(ready, settled);
    if (settled.at === "source") await this.#forgetLimit();
    const { vm, source } = this.#input;
    const here = settled.paused === true ? `it is on ${source}, paused,` : `it runs on ${source}`;
    const where = settled.at === "source" ? `${here} and nothing is left on the destination; migrate it again` : settled.text;
    if (this.#context.cancelRequested) throw new CancelledError(`cancelled; ${where}`);
    throw new EngineError("interrupted", `${vm} was not moved: the server ended during the move; ${where}`, { vm, at: settled.at });
  }

  /** The server that set a limit for this guest's pause ended before it could take it back; what it was before is not known. */
  async #forgetLimit(): Promise<void> {
    const { vmId, sourceId } = this.#input;
    const signal = AbortSignal.any([this.#context.stopping, AbortSignal.timeout(limitMs)]);
    const { migration } = await seeVm(this.#migrations, sourceId, { vmId }, this.#context.stopping);
    await migration?.limitPause(vmId, usualPauseMs, { signal }).catch((error: unknown) => {
      this.#context.log("warn", `the pause limit of its process could not be put back: ${describeError(error)}`);
    });
  }

  async #finish(
    ready: ReadyPlan,
    network: NetworkVerdict,
    attempts: readonly MigrationAttempt[],
    figures: MoveProgress | undefined,
  ): Promise<MigrationResult> {
    const input = this.#input;
    const ended = this.#now();
    const move = this.#context.recorded("move")?.output as { readonly startedAt: string } | undefined;
    const startedAt = move?.startedAt ?? ended;
    const waitedMs = Math.round(this.#turn?.waitedMs ?? 0);
    const [interfaces] = await Promise.all([this.#evidence.interfaces(), this.#looking]);
    await deleteDisks(this.#migrations, this.#context, { hostId: input.sourceId, paths: ready.sourcePaths, name: "the original" });
    await this.#smallFiles.finish();
    const movedBytes = figures?.memoryProcessedBytes ?? 0; // a disk's figure counts zeros that were never sent
    return {
      vmId: input.vmId,
      vm: input.vm,
      source: input.source,
      destination: input.destination,
      kind: ready.plan.kind,
      driver: input.peerToPeer ? "peer-to-peer" : "server",
      networkId: network.networkId,
      network: network.network,
      destinationAddress: network.destinationAddress ?? "",
      attempts,
      startedAt,
      endedAt: ended,
      totalMs: Math.max(0, Date.parse(ended) - Date.parse(startedAt) - waitedMs),
      ...(waitedMs > 0 && { waitedMs }),
      ...this.#sendMs(),
      ...(figures?.pauseMs !== undefined && { pauseMs: figures.pauseMs }),
      ...(figures && { contract: keptContract(contractOf(input), figures) }),
      ...(ready.plan.forecast && { forecast: ready.plan.forecast }),
      ...(figures?.rounds !== undefined && { rounds: figures.rounds }),
      ...(figures?.dirtyBytesPerSecond !== undefined && { dirtyBytesPerSecond: figures.dirtyBytesPerSecond }),
      ...(ready.plan.transport && { transport: withoutReasons(ready.plan.transport) }),
      memoryBytes: figures?.memoryProcessedBytes ?? 0,
      diskBytes: figures?.diskProcessedBytes ?? 0,
      interfaces,
      proof: proofSentence(interfaces, {
        sourceId: input.sourceId,
        destinationId: input.destinationId,
        networkId: network.networkId,
        movedBytes,
      }),
    };
  }

  #sendMs(): { readonly sendMs?: number } {
    const at = (phase: string): string | undefined =>
      (this.#context.recorded(`phase:${phase}`)?.output as { readonly at: string } | undefined)?.at;
    const [from, to] = [at("perform"), at("finish")];
    if (from === undefined || to === undefined) return {};
    const held = this.#turn?.before === "switchover" ? Math.round(this.#turn.waitedMs) : 0;
    return { sendMs: Math.max(0, Date.parse(to) - Date.parse(from) - held) };
  }

  /** After a move that did not happen: the images made for the copies go, unless the VM may be using them, or may have. */
  async #removeCopies(ready: ReadyPlan, settled: Settled): Promise<void> {
    const { destinationId, destination, peerToPeer } = this.#input;
    const made = this.#context.recorded("phase:prepare") ?? (this.#madeByAnother ? this.#context.recorded("phase:images") : undefined);
    const begun = ready.copyPaths.length > 0 && made !== undefined;
    const neverRan = settled.neverArrived === true && !peerToPeer && this.#context.recorded("phase:finish") === undefined;
    // In post-copy it ran there, and what it wrote is in the copies alone.
    const mayHaveRun = settled.paused === true && contractOf(this.#input).policy === "post-copy";
    if ((settled.at === "source" && !mayHaveRun) || neverRan) {
      await this.#smallFiles.undo();
      if (begun) await deleteDisks(this.#migrations, this.#context, { hostId: destinationId, paths: ready.copyPaths, name: "the copy" });
    } else if (begun) {
      const paths = ready.copyPaths.join(", ");
      const text = `copies of its disks were left on ${destination}, as it may have run there: ${paths}; a move to there needs them gone`;
      await this.#context.reason({ code: "disk-left", text });
    }
  }

  #throwStopped(): void {
    this.#context.stopping.throwIfAborted();
  }

  #now(): string {
    return new Date(this.#migrations.options.clock.now()).toISOString();
  }
}
