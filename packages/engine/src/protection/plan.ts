import type { ConsistencyLevel, Point } from "@godwit/vault";
import type { BackupDisk, BackupFacts, FreezeReport } from "../ports/backup.ts";
import type { DiskPlan } from "./model.ts";

export interface PlanInput {
  readonly facts: BackupFacts;
  /** The vault's newest usable point of the VM; the tracked one where there is one. */
  readonly base?: Point | undefined;
  /** The checkpoint that was made with `base`, known to the hypervisor now. */
  readonly checkpoint?: string | undefined;
  /** By target, the images that `base` shows, as far as they are known. */
  readonly images?: Readonly<Record<string, string>> | undefined;
  /** Why there is a base and no checkpoint. */
  readonly lost?: string | undefined;
  /** All is read and compared; the list of changes is only asked what it would have said. */
  readonly check?: boolean | undefined;
}

export interface CapturePlan {
  readonly disks: readonly DiskPlan[];
  /** The checkpoint that the incremental disks refer to. */
  readonly checkpoint?: string | undefined;
}

/** How each disk is read: only its changes, or all of it, and why. */
export function planCapture(input: PlanInput): CapturePlan {
  const disks = input.facts.disks.map((disk) => ({ target: disk.target, ...planDisk(disk, input) }));
  const incremental = disks.some(({ mode }) => mode === "incremental");
  return { disks, ...(incremental && { checkpoint: input.checkpoint }) };
}

function planDisk(disk: BackupDisk, { base, checkpoint, images = {}, lost, check }: PlanInput): Omit<DiskPlan, "target"> {
  const say = (mode: DiskPlan["mode"], code: string, text: string): Omit<DiskPlan, "target"> => ({
    mode,
    reason: { code, text: `${disk.target}: ${text}` },
  });
  if (!base) return say("full", "first", "read in full, the vault has no point of this VM yet");
  const before = base.disks.find(({ name }) => name === disk.target);
  if (!before) return say("full", "new-disk", "read in full, the disk is new");
  if (before.size !== disk.capacityBytes) {
    return say("compared", "resized", `read and compared, its size changed from ${before.size} to ${disk.capacityBytes} bytes`);
  }
  if (disk.untracked !== undefined) return say("compared", "untracked", `read and compared with the last point: ${disk.untracked}`);
  if (checkpoint === undefined) {
    return say("compared", "tracking-lost", `read and compared with the last point: ${lost ?? "nobody kept a list of its changes"}`);
  }
  // Its own list of changes says nothing of how it differs from the image that was there before.
  const was = Object.keys(images).find((target) => target !== disk.target && images[target] === disk.path);
  if (was !== undefined) return say("compared", "renamed", `read and compared, its image was ${was} at the last point`);
  if (check === true)
    return say("incremental", "check", "read and compared with the last point, as a check of what its list of changes says");
  return say("incremental", "tracked", `only what changed since ${base.time} is read`);
}

/** What is worth threads of its own. */
export const muchBytes = 16 << 20;

/** Whole disks; of lists of changes, what changed between the last points tells. */
export function readsMuch({ facts, base, check }: PlanInput, { disks }: CapturePlan): boolean {
  const whole = disks.filter(({ mode }) => mode !== "incremental" || check === true);
  const bytes = facts.disks
    .filter(({ target }) => whole.some((disk) => disk.target === target))
    .reduce((sum, { capacityBytes, allocatedBytes = capacityBytes }) => sum + Math.min(capacityBytes, allocatedBytes), 0);
  return Math.max(bytes, base?.parent === undefined ? 0 : (base.figures["readBytes"] ?? 0)) > muchBytes;
}

/** After the hypervisor refused the list of changes: the same, without it. */
export function withoutTracking(input: PlanInput, lost: string): CapturePlan {
  return planCapture({ facts: input.facts, base: input.base, lost });
}

/** A level as it was measured, with what says so. */
export interface Verdict {
  readonly level: ConsistencyLevel;
  readonly evidence: readonly string[];
}

/** From the least on. */
export const levels: readonly ConsistencyLevel[] = ["crash", "filesystem", "application"];

/** `application` only when the guest's own programs said, of this very freeze, that they were ready. */
export function judgeConsistency(facts: Pick<BackupFacts, "state" | "agent">, freeze: FreezeReport): Verdict {
  const { writers } = freeze;
  const evidence = writers ? [freeze.text, writers.text] : [freeze.text];
  if (freeze.outcome === "held") return { level: writers?.outcome === "well" ? "application" : "filesystem", evidence };
  if (freeze.outcome !== "not-asked") return { level: "crash", evidence };
  if (facts.state === "paused") return { level: "crash", evidence: ["the VM was paused: its agent could not be asked to hold still"] };
  const agents = { none: "the VM has no guest agent", disconnected: "the guest's agent is not connected", connected: freeze.text };
  return { level: "crash", evidence: [agents[facts.agent]] };
}

/** Free bytes for overwritten blocks that a capture begins with at least, and the least that it goes on with. */
export const scratchStartBytes = 256 << 20;

/** Twice what changed between the last points, as nobody knows how long this reading takes; never more than the disks hold. */
export function scratchNeeded({ disks }: BackupFacts, base: Point | undefined): number {
  const capacity = disks.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
  const changed = base?.parent === undefined ? 0 : (base.figures["readBytes"] ?? 0);
  return Math.min(capacity, Math.max(scratchStartBytes, 2 * changed));
}
