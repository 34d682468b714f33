import { CancelledError, describeError } from "@godwit/core";
import { type Point, prepareThreads, type Vault } from "@godwit/vault";
import type { JobContext, JobKind, JobSlot } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { VmView } from "../model/vm.ts";
import {
  BaseLostError,
  type BackupFacts,
  type HostBackup,
  type Moment,
  type MomentPlace,
  RouteLostError,
  VmBusyError,
  type WriteStats,
} from "../ports/backup.ts";
import { serverSlot } from "./at-once.ts";
import { type Begun, captureDone, type Read } from "./capture-done.ts";
import { checkText, compareWithLast } from "./check.ts";
import { heal } from "./heal.ts";
import { CHECKPOINT_FILE, type CaptureDone, type CaptureInput, type CaptureResult, type TrackingRecord } from "./model.ts";
import { checkpointName } from "./names.ts";
import { Pace, pacing } from "./pace.ts";
import {
  type CapturePlan,
  judgeConsistency,
  levels,
  planCapture,
  type PlanInput,
  readsMuch,
  scratchNeeded,
  scratchStartBytes,
  type Verdict,
  withoutTracking,
} from "./plan.ts";
import { openDisks, readInto } from "./reading.ts";
import type { UsableRoute } from "./routes.ts";
import type { Captures, ProtectionHosts } from "./service.ts";
import { together } from "./shared-pace.ts";
import type { TrafficMeter } from "./traffic.ts";
import { guard, needStillOff, Parked } from "./watch.ts";

type Context = JobContext<CaptureInput>;

/** How often it is tried again when the hypervisor was busy with the VM, which each time took half a minute to say so. */
const busyTries = 3;
const busyPauseMs = 5000;

/** A point that is in the vault, and what is left to do about it. */
interface Kept {
  readonly place: MomentPlace;
  readonly done: CaptureDone;
  readonly tracking?: TrackingRecord | undefined;
  /** The checkpoint that is of no use any more. */
  readonly before?: string | undefined;
}

/** What an attempt to capture begins with. */
interface Attempt {
  readonly vm: VmView;
  readonly vault: Vault;
  readonly backup: HostBackup;
  readonly planned: PlanInput;
  readonly before: string | undefined;
}

/**
 * The job that takes one recovery point of a VM, wherever it is when its turn comes. What it makes on the host is on
 * record before it is made, and is taken away however it ends; an attempt that follows a server's death first takes
 * away what that one left, and takes a new moment. What the vault got is never sent again.
 */
export function captureJob(captures: Captures): JobKind<CaptureInput> {
  const { hosts, perHost, atOnce } = captures.options;
  return {
    kind: "vm.capture",
    title: ({ vm, vault }) => `capture ${vm} into ${vault}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: ({ vmId }) => [...hostSlot(hosts, vmId, perHost), serverSlot("captures", atOnce)],
    run: (context) => new Run(captures, context).run(),
  };
}

/** A VM that nobody sees, as right after the server's start, takes no place there; the job itself says what is the matter. */
function hostSlot(hosts: ProtectionHosts, vmId: string, perHost: JobSlot["limit"]): JobSlot[] {
  try {
    const { hostId, host } = hosts.vm(vmId);
    return [{ name: `captures:${hostId}`, label: `captures on ${host}`, limit: perHost }];
  } catch (error) {
    if (error instanceof EngineError) return [];
    throw error;
  }
}

class Run {
  readonly #captures: Captures;
  readonly #context: Context;
  readonly #input: CaptureInput;
  readonly #startedAt: number;
  #tries = 0;
  #meter: TrafficMeter | undefined;

  constructor(captures: Captures, context: Context) {
    this.#captures = captures;
    this.#context = context;
    this.#input = context.input;
    this.#startedAt = captures.options.clock.monotonic();
  }

  async run(): Promise<CaptureResult> {
    const kept = this.#recorded("point") as Kept | undefined;
    if (kept) return await this.#finish(kept);
    await this.#undoEarlier();
    for (let busy = 1; ; busy += 1) {
      this.#context.signal.throwIfAborted();
      try {
        return await this.#capture();
      } catch (error) {
        if (error instanceof Parked) return await this.#park(error);
        if (!(error instanceof VmBusyError) || busy > busyTries) throw error;
        await this.#waitForVm(error);
      }
    }
  }

  /** Nothing of the attempt is left, and no guest is frozen meanwhile. */
  async #waitForVm(error: VmBusyError): Promise<void> {
    const text = `${describeError(error)}; another try in ${busyPauseMs / 1000} s`;
    await this.#context.reason({ code: "vm-busy", text });
    await this.#captures.options.clock.sleep(busyPauseMs, { signal: this.#context.signal });
  }

  async #capture(): Promise<CaptureResult> {
    const { signal } = this.#context;
    const { vaultId } = this.#input;
    const vm = this.#captures.place(this.#input.vmId);
    const backup = this.#captures.backup(vm.hostId);
    const { traffic, vaults } = this.#captures.options;
    const routing = traffic.routes(vm.hostId, (options) => backup.tls(options), { signal });
    routing.catch(() => undefined);
    this.#meter = traffic.meter(vm.hostId, { signal });
    const asking = this.#captures.follower.settled(vm.id, { signal }).then(() => backup.facts(vm.id, { signal }));
    asking.catch(() => undefined);
    const vault = await vaults.open(vaultId, { signal });
    const known = await this.#captures.known(vault, this.#input, { signal });
    const healed = await heal(backup, { ...known, vmId: vm.id, vaultId, hostId: vm.hostId, asking }, this.#context);
    const planned: PlanInput = {
      facts: healed.facts,
      base: known.base,
      checkpoint: healed.checkpoint,
      images: known.tracking?.images,
      lost: healed.lost,
      check: this.#input.check,
    };
    this.#refuse(healed.facts);
    return await this.#byRoute(await routing, { vm, vault, backup, planned, before: known.tracking?.checkpoint });
  }

  /** By the best route that carries it to its end; what the vault got by another one is not sent again. */
  async #byRoute(routes: readonly UsableRoute[], attempt: Attempt): Promise<CaptureResult> {
    const { backup, vm, planned } = attempt;
    for (const [at, route] of routes.entries()) {
      try {
        return await this.#over(route, attempt);
      } catch (error) {
        if (!(error instanceof RouteLostError)) throw error;
        this.#captures.options.traffic.lost(vm.hostId, route.view, describeError(error));
        const lost = `${route.view.reason.text}: ${describeError(error)}`;
        const next = routes[at + 1];
        const { state } = await backup.facts(vm.id, { signal: this.#context.signal });
        if (!next || state !== planned.facts.state)
          throw new EngineError("hypervisor", `${vm.name} could not be read ${lost}`, {}, { cause: error });
        await this.#context.reason({ code: "route-lost", text: `${lost}; another moment is taken, ${next.view.reason.text}` });
      }
    }
    throw new Error("there is always a route");
  }

  async #over(route: UsableRoute, attempt: Attempt): Promise<CaptureResult> {
    const { vm, vault, backup, planned, before } = attempt;
    const begun = await this.#begin(route, attempt);
    try {
      const verdict = await this.#judge(planned.facts, begun);
      const stored = await this.#read({ vault, backup, base: planned.base, begun, verdict, off: planned.facts.state === "off" });
      return await this.#finish(await this.#keep({ vm, facts: planned.facts, begun, stored, verdict, before }));
    } catch (error) {
      await this.#undo(begun.place);
      throw error;
    }
  }

  #refuse({ job, name, disks }: BackupFacts): void {
    if (job !== undefined)
      throw new EngineError("conflict", `${name} cannot be captured: its hypervisor is busy with a ${job} that Godwit did not begin`);
    if (disks.length === 0) throw new EngineError("invalid", `${name} has no disk that a recovery point could hold`);
  }

  /** Takes the moment; once more without the list of changes when that turns out to be damaged. */
  async #begin(route: UsableRoute, attempt: Attempt): Promise<Begun> {
    const { backup, vm, planned } = attempt;
    try {
      return await this.#take(route, attempt, planCapture(planned));
    } catch (error) {
      if (!(error instanceof BaseLostError) || planned.checkpoint === undefined) throw error;
      // Of a VM that is off no list can be deleted; the first capture while it runs does it.
      if (planned.facts.state !== "off") await backup.deleteCheckpoint(vm.id, planned.checkpoint, { signal: this.#context.signal });
      return await this.#take(route, attempt, withoutTracking(planned, `the list of changes is damaged (${describeError(error)})`));
    }
  }

  async #take({ route, view }: UsableRoute, { backup, vm, planned }: Attempt, plan: CapturePlan): Promise<Begun> {
    const { facts, base } = planned;
    const context = this.#context;
    const place = this.#newPlace(vm);
    // Started now, they are there when the reading begins; for little they are not worth it.
    if (readsMuch(planned, plan)) prepareThreads();
    await Promise.all([context.note("moment", place), context.note("plan", plan)]);
    const freeze = facts.state === "running" && facts.agent === "connected";
    const request = { ...place, disks: plan.disks, base: plan.checkpoint, freeze, scratchBytes: scratchNeeded(facts, base), route, facts };
    try {
      const moment = await backup.begin(vm.id, request, { signal: context.signal });
      context.log("info", `the moment was taken on ${vm.host}: ${moment.freeze.text}`);
      return { plan, place, moment, route: view };
    } catch (error) {
      await this.#undo(place);
      throw error;
    }
  }

  #newPlace(vm: VmView): MomentPlace {
    const { id, attempt } = this.#context;
    const moment = `${id}-${attempt}-${(this.#tries += 1)}`;
    return { hostId: vm.hostId, moment, checkpoint: checkpointName(this.#input.vaultId, moment) };
  }

  async #judge(facts: BackupFacts, { plan, moment, route }: Begun): Promise<Verdict> {
    const verdict = judgeConsistency(facts, moment.freeze);
    const said = [
      route.reason,
      ...plan.disks.map(({ reason }) => reason),
      ...facts.leftOut.map(({ reason }) => ({ code: "left-out", text: reason })),
    ];
    const consistency = { code: `consistency-${verdict.level}`, text: `${verdict.level}-consistent: ${verdict.evidence.join("; ")}` };
    await Promise.all([...said, consistency].map((reason) => this.#context.reason(reason)));
    const { vm, atLeast } = this.#input;
    if (levels.indexOf(verdict.level) < levels.indexOf(atLeast)) {
      const text = `${vm} was asked for ${atLeast}-consistent, and could only be ${verdict.level}-consistent: ${verdict.evidence.join("; ")}`;
      throw new EngineError("refused", text);
    }
    return verdict;
  }

  async #read(of: {
    vault: Vault;
    backup: HostBackup;
    base: Point | undefined;
    begun: Begun;
    verdict: Verdict;
    off: boolean;
  }): Promise<Read> {
    const { vault, backup, base, begun, verdict, off } = of;
    const { vmId, vm, check = false } = this.#input;
    const { options } = this.#captures;
    await using watch = this.#guard(backup, begun.moment);
    const pace = new Pace(options.clock, this.#input.bandwidthBytesPerSecond);
    const stats = (signal: AbortSignal): Promise<WriteStats | undefined> => backup.writeStats(vmId, { signal });
    const opened = openDisks(begun.moment, { signal: watch.signal });
    opened.catch(() => undefined); // It may fail while something else is waited for.
    await using _closing = { [Symbol.asyncDispose]: async () => (await opened.catch(() => undefined))?.[Symbol.asyncDispose]() };
    const describing = backup.machine(vmId, { signal: watch.signal });
    describing.catch(() => undefined);
    await using following = await pacing({ signal: watch.signal, clock: options.clock, pace, stats });
    const disks = await opened;
    const machine = await describing;
    const { leftOut = [] } = machine;
    await Promise.all(leftOut.map((text) => this.#context.reason({ code: "left-out", text })));
    const checkpoint = begun.moment.checkpointXml;
    const files = checkpoint === undefined ? machine.files : [...machine.files, { name: CHECKPOINT_FILE, data: Buffer.from(checkpoint) }];
    const reasons = [...begun.plan.disks.map(({ reason }) => reason.text), ...leftOut, `read ${begun.route.reason.text}`];
    const both = together(this.#captures.sharedPace(this.#input), pace);
    const stored = await readInto(
      vault,
      {
        name: vm,
        moment: begun.moment,
        disks,
        base,
        verdict,
        reasons,
        pace: both,
        check,
        machine: { definition: machine.definition, files },
      },
      {
        signal: watch.signal,
        progress: (progress) => this.#context.progress(progress),
        gently: () => !off && following.writes(),
        beforeCommit: async () => (off ? await needStillOff(backup, begun.moment, vmId, watch.signal) : undefined),
      },
    );
    const checked = check && base ? await compareWithLast(vault, base, stored.point, stored.lists, watch.signal) : undefined;
    return { ...stored, felt: following.felt(), ...(checked && { checked }) };
  }

  #guard(backup: HostBackup, moment: Moment): ReturnType<typeof guard> {
    const { vmId, onMigration } = this.#input;
    const { options } = this.#captures;
    return guard({
      signal: this.#context.signal,
      clock: options.clock,
      moveWaiting: () => {
        const move = options.moveWaiting(vmId);
        return move && onMigration === "finish" && move.power !== true ? { ...move, waits: true } : move;
      },
      waitedFor: ({ id, title }) =>
        this.#context.reason({ code: "move-waits", text: `job ${id} (${title}) waits until this capture has ended` }),
      scratchLeft: (signal) => backup.scratchLeft(moment, { signal }),
      scratchFloor: Math.min(scratchStartBytes, (moment.scratch?.freeBytes ?? 0) / 4),
    });
  }

  async #keep(of: {
    vm: VmView;
    facts: BackupFacts;
    begun: Begun;
    stored: Read;
    verdict: Verdict;
    before: string | undefined;
  }): Promise<Kept> {
    const { vm, begun, stored, verdict } = of;
    const { vmId, vaultId } = this.#input;
    const { point, checked } = stored;
    for (const one of checked ?? []) {
      const code = (one.unexpectedBytes ?? 0) > 0 ? "check-repaired" : "checked";
      await this.#context.reason({ code, text: checkText(one) });
    }
    const { moment, place } = begun;
    const totalMs = Math.round(this.#captures.options.clock.monotonic() - this.#startedAt);
    const done = captureDone({ input: this.#input, host: vm.host, begun, stored, verdict, totalMs });
    const xml = moment.checkpointXml;
    const images = Object.fromEntries(of.facts.disks.flatMap(({ target, path }) => (path === undefined ? [] : [[target, path]])));
    const tracking = xml === undefined ? undefined : { vmId, vaultId, pointId: point.id, checkpoint: place.checkpoint, xml, images };
    const kept: Kept = { place, done, ...(tracking && { tracking, before: of.before }) };
    await this.#context.note("point", kept);
    return kept;
  }

  /** The point is safe: from now on nothing is undone, only completed. */
  async #finish({ place, done, tracking, before }: Kept): Promise<CaptureDone> {
    const { stopping } = this.#context;
    const counted = this.#meter?.read({ signal: stopping }).catch(() => []);
    if (tracking) await this.#captures.track(tracking);
    try {
      const vm = this.#captures.place(this.#input.vmId);
      const useless = before === tracking?.checkpoint ? undefined : before;
      const here = vm.hostId === place.hostId;
      await this.#captures.backup(place.hostId).end(vm.id, place, { signal: stopping, forget: false, before: here ? useless : undefined });
      if (useless !== undefined && !here) await this.#captures.backup(vm.hostId).deleteCheckpoint(vm.id, useless, { signal: stopping });
    } catch (error) {
      stopping.throwIfAborted();
      await this.#context.reason({
        code: "left-behind",
        text: `something may be left on ${done.host}, the next capture removes it: ${describeError(error)}`,
      });
    }
    return { ...done, interfaces: (await counted) ?? [] };
  }

  /** What a server that died had begun. */
  async #undoEarlier(): Promise<void> {
    const place = this.#recorded("moment") as MomentPlace | undefined;
    if (place) await this.#undo(place);
  }

  async #undo(place: MomentPlace): Promise<void> {
    const { stopping } = this.#context;
    stopping.throwIfAborted();
    try {
      await this.#captures.backup(place.hostId).end(this.#input.vmId, place, { signal: stopping, forget: true });
      await this.#context.note("moment", { ...place, ended: true });
    } catch (error) {
      stopping.throwIfAborted();
      await this.#context.reason({
        code: "left-behind",
        text: `the export may be left on the host, the next capture removes it: ${describeError(error)}`,
      });
    }
  }

  async #park({ move }: Parked): Promise<CaptureResult> {
    const { vmId, vm } = this.#input;
    if (this.#context.cancelRequested) throw new CancelledError(`cancelled while parked for job ${move.id}`);
    const continuedBy = await this.#captures.options.submit(
      { ...this.#input, continues: this.#context.id },
      `capture-goes-on ${this.#context.id}`,
    );
    const why = move.power === true ? "is not to wait for it" : "must move";
    const then = move.power === true ? "after that" : "at the destination";
    const text = `parked: ${vm} ${why} (job ${move.id}, ${move.title}); job ${continuedBy} goes on ${then} with what the vault has got`;
    await this.#context.reason({ code: "parked", text });
    return { outcome: "parked", vmId, vm, for: move, continuedBy };
  }

  #recorded(name: string): unknown {
    return this.#context.recorded(name)?.output;
  }
}
