import { CancelledError, describeError } from "@godwit/core";
import type { Point, Vault } from "@godwit/vault";
import type { JobContext, JobKind, JobSlot } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { VmView } from "../model/vm.ts";
import { BaseLostError, type BackupFacts, type HostBackup, type Moment, type MomentPlace, type WriteStats } from "../ports/backup.ts";
import { checkText, compareWithLast } from "./check.ts";
import { heal } from "./heal.ts";
import {
  CHECKPOINT_FILE,
  type CaptureDone,
  type CaptureInput,
  type CaptureResult,
  type CheckedDisk,
  type TrackingRecord,
} from "./model.ts";
import { checkpointName } from "./names.ts";
import { type Felt, Pace, pacing } from "./pace.ts";
import { type CapturePlan, judgeConsistency, levels, planCapture, type PlanInput, type Verdict, withoutTracking } from "./plan.ts";
import { readInto, type Stored } from "./reading.ts";
import type { Captures, ProtectionHosts } from "./service.ts";
import { guard, Parked } from "./watch.ts";

type Context = JobContext<CaptureInput>;

/** A point that is in the vault, and what is left to do about it. */
interface Kept {
  readonly place: MomentPlace;
  readonly done: CaptureDone;
  readonly tracking?: TrackingRecord | undefined;
  /** The checkpoint that is of no use any more. */
  readonly before?: string | undefined;
}

interface Read extends Stored {
  readonly felt: Felt;
  readonly checked?: readonly CheckedDisk[];
}

interface Begun {
  readonly plan: CapturePlan;
  readonly place: MomentPlace;
  readonly moment: Moment;
}

/** Free bytes for overwritten blocks that a capture begins with at least, and the least that it goes on with. */
const scratchStartBytes = 256 << 20;

/**
 * The job that takes one recovery point of a VM, wherever it is when its turn comes. What it makes on the host is on
 * record before it is made, and is taken away however it ends; an attempt that follows a server's death first takes
 * away what that one left, and takes a new moment. What the vault got is never sent again.
 */
export function captureJob(captures: Captures): JobKind<CaptureInput> {
  const { hosts, perHost } = captures.options;
  return {
    kind: "vm.capture",
    title: ({ vm, vault }) => `capture ${vm} into ${vault}`,
    subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
    locks: ({ vmId }) => [`vm:${vmId}`],
    slots: ({ vmId }) => slots(hosts, vmId, perHost),
    run: (context) => new Run(captures, context).run(),
  };
}

/** A VM that nobody sees, as right after the server's start, takes no place; the job itself says what is the matter. */
function slots(hosts: ProtectionHosts, vmId: string, perHost: number): JobSlot[] {
  try {
    const { hostId, host } = hosts.vm(vmId);
    return [{ name: `captures:${hostId}`, label: `captures on ${host}`, limit: () => Promise.resolve(perHost) }];
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
    this.#context.signal.throwIfAborted();
    try {
      return await this.#capture();
    } catch (error) {
      if (!(error instanceof Parked)) throw error;
      return await this.#park(error);
    }
  }

  async #capture(): Promise<CaptureResult> {
    const { signal } = this.#context;
    const { vaultId } = this.#input;
    const vm = this.#captures.place(this.#input.vmId);
    const vault = await this.#captures.options.vaults.open(vaultId, { signal });
    const backup = this.#captures.backup(vm.hostId);
    const known = await this.#captures.known(vault, this.#input, { signal });
    const healed = await heal(backup, { ...known, vmId: vm.id, vaultId, hostId: vm.hostId }, this.#context);
    const planned: PlanInput = {
      facts: healed.facts,
      base: known.base,
      checkpoint: healed.checkpoint,
      lost: healed.lost,
      check: this.#input.check,
    };
    this.#refuse(healed.facts);
    const begun = await this.#begin(backup, vm, planned);
    try {
      const verdict = await this.#judge(healed.facts, begun);
      const stored = await this.#read({ vault, backup, base: known.base, begun, verdict, off: healed.facts.state === "off" });
      return await this.#finish(await this.#keep({ vm, begun, stored, verdict, before: known.tracking?.checkpoint }));
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
  async #begin(backup: HostBackup, vm: VmView, planned: PlanInput): Promise<Begun> {
    try {
      return await this.#take(backup, vm, planned, planCapture(planned));
    } catch (error) {
      if (!(error instanceof BaseLostError) || planned.checkpoint === undefined) throw error;
      // Of a VM that is off no list can be deleted; the first capture while it runs does it.
      if (planned.facts.state !== "off") await backup.deleteCheckpoint(vm.id, planned.checkpoint, { signal: this.#context.signal });
      return await this.#take(backup, vm, planned, withoutTracking(planned, `the list of changes is damaged (${describeError(error)})`));
    }
  }

  async #take(backup: HostBackup, vm: VmView, { facts, base }: PlanInput, plan: CapturePlan): Promise<Begun> {
    const context = this.#context;
    const place = this.#newPlace(vm);
    await context.note("moment", place);
    await context.note("plan", plan);
    const freeze = facts.state === "running" && facts.agent === "connected";
    const request = { ...place, disks: plan.disks, base: plan.checkpoint, freeze, scratchBytes: scratchNeeded(facts, base) };
    try {
      const moment = await backup.begin(vm.id, request, { signal: context.signal });
      context.log("info", `the moment was taken on ${vm.host}: ${moment.freeze.text}`);
      return { plan, place, moment };
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

  async #judge(facts: BackupFacts, { plan, moment }: Begun): Promise<Verdict> {
    const verdict = judgeConsistency(facts, moment.freeze);
    for (const { reason } of plan.disks) await this.#context.reason(reason);
    for (const { reason } of facts.leftOut) await this.#context.reason({ code: "left-out", text: reason });
    await this.#context.reason({
      code: `consistency-${verdict.level}`,
      text: `${verdict.level}-consistent: ${verdict.evidence.join("; ")}`,
    });
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
    const { vmId, vm, onMigration, check = false } = this.#input;
    const { options } = this.#captures;
    await using watch = guard({
      signal: this.#context.signal,
      clock: options.clock,
      moveWaiting: () => {
        const move = options.moveWaiting(vmId);
        return move && onMigration === "finish" ? { ...move, waits: true } : move;
      },
      waitedFor: ({ id, title }) =>
        this.#context.reason({ code: "move-waits", text: `job ${id} (${title}) waits until this capture has ended` }),
      scratchLeft: (signal) => backup.scratchLeft(begun.moment, { signal }),
      scratchFloor: Math.min(scratchStartBytes, (begun.moment.scratch?.freeBytes ?? 0) / 4),
    });
    const pace = new Pace(options.clock, this.#input.bandwidthBytesPerSecond);
    const stats = (signal: AbortSignal): Promise<WriteStats | undefined> => backup.writeStats(vmId, { signal });
    await using following = await pacing({ signal: watch.signal, clock: options.clock, pace, stats });
    const machine = await backup.machine(vmId, { signal: watch.signal });
    const checkpoint = begun.moment.checkpointXml;
    const files = checkpoint === undefined ? machine.files : [...machine.files, { name: CHECKPOINT_FILE, data: Buffer.from(checkpoint) }];
    const reasons = begun.plan.disks.map(({ reason }) => reason.text);
    const shared = this.#captures.sharedPace(this.#input);
    const both: Pick<Pace, "take"> = {
      async take(bytes, signal) {
        await shared?.take(bytes, signal);
        await pace.take(bytes, signal);
      },
    };
    const stored = await readInto(
      vault,
      { name: vm, moment: begun.moment, base, verdict, reasons, pace: both, check, machine: { ...machine, files } },
      {
        signal: watch.signal,
        progress: (progress) => this.#context.progress(progress),
        beforeCommit: async () => (off ? await this.#isStillOff(backup, begun.moment) : undefined),
      },
    );
    const checked = check && base ? await compareWithLast(vault, base, stored.point, stored.lists, watch.signal) : undefined;
    return { ...stored, felt: following.felt(), ...(checked && { checked }) };
  }

  /** QEMU refuses to start a VM whose qcow2 images are read; raw ones it does not guard. */
  async #isStillOff(backup: HostBackup, moment: Moment): Promise<void> {
    const { signal } = this.#context;
    const { state, name } = await backup.facts(this.#input.vmId, { signal });
    if (state !== "off")
      throw new EngineError("conflict", `${name} was started while its images were read: capture it again, now while it runs`);
    const touched = await moment.touched?.({ signal });
    if (touched === undefined) return;
    throw new EngineError("conflict", `${touched} was written to while it was read, though ${name} is off: capture it again`);
  }

  async #keep(of: { vm: VmView; begun: Begun; stored: Read; verdict: Verdict; before: string | undefined }): Promise<Kept> {
    const { vm, begun, stored, verdict } = of;
    const { vmId, vaultId, vault } = this.#input;
    const { point, readBytes, felt, checked } = stored;
    for (const one of checked ?? []) {
      const code = (one.unexpectedBytes ?? 0) > 0 ? "check-repaired" : "checked";
      await this.#context.reason({ code, text: checkText(one) });
    }
    const { moment, place, plan } = begun;
    const figure = (name: string): number => point.figures[name] ?? 0;
    const done: CaptureDone = {
      outcome: "captured",
      vmId,
      vm: this.#input.vm,
      host: vm.host,
      vaultId,
      vault,
      pointId: point.id,
      at: moment.at,
      consistency: verdict.level,
      evidence: verdict.evidence,
      frozenMs: moment.freeze.frozenMs,
      ...(checked && { check: checked }),
      disks: plan.disks.map((disk) => ({
        ...disk,
        ...(checked && disk.mode === "incremental" && { mode: "compared" as const }),
        sizeBytes: point.disks.find(({ name }) => name === disk.target)?.size ?? 0,
        readBytes: readBytes.get(disk.target) ?? 0,
      })),
      readBytes: figure("readBytes"),
      storedBytes: figure("storedBytes"),
      newChunks: figure("newChunks"),
      adoptedPacks: figure("adoptedPacks"),
      guest: felt,
      totalMs: Math.round(this.#captures.options.clock.monotonic() - this.#startedAt),
    };
    const xml = moment.checkpointXml;
    const tracking = xml === undefined ? undefined : { vmId, vaultId, pointId: point.id, checkpoint: place.checkpoint, xml };
    const kept: Kept = { place, done, ...(tracking && { tracking, before: of.before }) };
    await this.#context.note("point", kept);
    return kept;
  }

  /** The point is safe: from now on nothing is undone, only completed. */
  async #finish({ place, done, tracking, before }: Kept): Promise<CaptureDone> {
    const { stopping } = this.#context;
    if (tracking) await this.#captures.track(tracking);
    try {
      const vm = this.#captures.place(this.#input.vmId);
      await this.#captures.backup(place.hostId).end(vm.id, place, { signal: stopping, forget: false });
      if (before !== undefined && before !== tracking?.checkpoint) {
        await this.#captures.backup(vm.hostId).deleteCheckpoint(vm.id, before, { signal: stopping });
      }
    } catch (error) {
      stopping.throwIfAborted();
      await this.#context.reason({
        code: "left-behind",
        text: `something may be left on ${done.host}, the next capture removes it: ${describeError(error)}`,
      });
    }
    return done;
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
    const text = `parked: ${vm} must move (job ${move.id}, ${move.title}); job ${continuedBy} goes on at the destination with what the vault has got`;
    await this.#context.reason({ code: "parked", text });
    return { outcome: "parked", vmId, vm, for: move, continuedBy };
  }

  #recorded(name: string): unknown {
    return this.#context.recorded(name)?.output;
  }
}

/** Twice what changed between the last points, as nobody knows how long this reading takes; never more than the disks hold. */
function scratchNeeded({ disks }: BackupFacts, base: Point | undefined): number {
  const capacity = disks.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
  const changed = base?.parent === undefined ? 0 : (base.figures["readBytes"] ?? 0);
  return Math.min(capacity, Math.max(scratchStartBytes, 2 * changed));
}
