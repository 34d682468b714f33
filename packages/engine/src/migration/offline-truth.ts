import type { Sighting } from "../ports/migration.ts";

/**
 * How far a move of a VM that stands still has come, as it was last put on record. The order is that of time.
 *
 * - `saving`, `copying`, `defining`: only the source may run it; whatever the destination has is undone
 * - `restoring`: the destination starts it paused; not one instruction has run there
 * - `released`: it may run on the destination, and never again from the source's disks or saved memory
 * - `returning`: the same for the source, after the move was given up
 */
export type OfflineStage = "begun" | "saving" | "copying" | "defining" | "restoring" | "released" | "returning";

/**
 * What to do about a VM after a move in which it stood still, from how far it had come and what both hosts say.
 *
 * - `on-source`, `on-destination`, `gone`: settled
 * - `restore-source`: start it from its saved memory, paused, where it was
 * - `resume-source`, `resume-destination`: let it run; on record before it is done
 * - `discard-destination`: end the process there that never ran
 * - `undefine-destination`: remove the definition there
 * - `release-source`: remove the definition on the source
 * - `wait`, `conflict`: it cannot be known yet; touch nothing
 */
export interface OfflineVerdict {
  readonly act:
    | "on-source"
    | "on-destination"
    | "gone"
    | "restore-source"
    | "resume-source"
    | "resume-destination"
    | "discard-destination"
    | "undefine-destination"
    | "release-source"
    | "wait"
    | "conflict";
  readonly text: string;
  /** It has run since its memory was saved, or ended before that: what is saved does not fit its disks. */
  readonly memoryStale?: boolean;
}

export interface OfflineFacts {
  readonly kind: "quick" | "cold";
  readonly stage: OfflineStage;
  readonly source: Sighting;
  readonly destination: Sighting;
}

type Known = Exclude<Sighting, { presence: "unknown" }>;

/** Memory that was saved is used to run at most once, and a definition is removed only when the other one is in place. */
export function settleOffline({ kind, stage, source, destination }: OfflineFacts): OfflineVerdict {
  if (source.presence === "unknown") return { act: "wait", text: `the source (${source.text}) does not say` };
  if (destination.presence === "unknown") return { act: "wait", text: `the destination (${destination.text}) does not say` };
  if ((source.presence === "running" || source.presence === "paused") && source.moving)
    return { act: "wait", text: "the source is still saving its memory" };
  if (stage === "released") return forward(kind, source, destination);
  return back(kind, stage, source, destination);
}

function isActive({ presence }: Known): boolean {
  return presence === "running" || presence === "paused" || presence === "incoming";
}

/** It belongs to the destination now, whatever became of it there. */
function forward(kind: OfflineFacts["kind"], source: Known, destination: Known): OfflineVerdict {
  if (isActive(source) && isActive(destination)) return { act: "conflict", text: "both hosts have it active" };
  if (destination.presence === "absent") {
    if (source.presence === "absent") return { act: "gone", text: "neither host has it" };
    return { act: "on-source", text: "the destination has lost it; the source still has its definition" };
  }
  if (isActive(source)) return { act: "conflict", text: "it was started on the source, and the destination has it as well" };
  if (destination.presence === "incoming") return { act: "wait", text: "the destination is still restoring its memory" };
  if (kind === "quick" && destination.presence === "paused") return { act: "resume-destination", text: "the destination has it, paused" };
  if (source.presence === "inactive")
    return { act: "release-source", text: "the destination has it; the source still keeps its definition" };
  return {
    act: "on-destination",
    text: destination.presence === "inactive" ? "it is off, on the destination" : "it is on the destination",
  };
}

function back(kind: OfflineFacts["kind"], stage: OfflineStage, source: Known, destination: Known): OfflineVerdict {
  if (destination.presence === "running") {
    return isActive(source)
      ? { act: "conflict", text: "both hosts say that they run it" }
      : { act: "conflict", text: "somebody started it on the destination before it was handed over" };
  }
  if (destination.presence === "paused" || destination.presence === "incoming")
    return { act: "discard-destination", text: "the destination has it paused, and it never ran there" };
  if (destination.presence === "inactive") {
    if (source.presence === "absent") return { act: "conflict", text: "the source has lost it; the destination has its definition" };
    return { act: "undefine-destination", text: "the destination has a definition that was not handed over" };
  }
  return atSource(kind, stage, source);
}

function atSource(kind: OfflineFacts["kind"], stage: OfflineStage, source: Known): OfflineVerdict {
  switch (source.presence) {
    case "running":
      return { act: "on-source", text: "it runs on the source" };
    case "absent":
      return { act: "gone", text: "neither host has it" };
    case "incoming":
      return { act: "wait", text: "the source is still restoring its memory" };
    case "paused":
      return kind === "quick" && stage !== "begun"
        ? { act: "resume-source", text: "the source has it, paused" }
        : { act: "on-source", text: "it is on the source, paused" };
    case "inactive":
      if (kind === "quick" && stage !== "begun" && source.ended === true)
        return { act: "on-source", text: "it is off on the source: it ended there by itself, or by hand", memoryStale: true };
      if (kind === "quick" && stage !== "begun" && stage !== "returning")
        return { act: "restore-source", text: "it is off, and its memory was saved" };
      return { act: "on-source", text: kind === "cold" ? "it is off, on the source" : "it is off on the source: it ended there" };
  }
}
