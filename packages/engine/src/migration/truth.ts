import type { Sighting } from "../ports/migration.ts";

/**
 * What to do about a VM after a move that ended in any way, from what both hosts say of it.
 *
 * - `on-source`, `on-destination`: settled, nothing is left to do
 * - `resume-source`: the destination has nothing, so the paused guest goes on where it is
 * - `discard-destination`: the incoming half never ran; remove it, then look again
 * - `forget-source`: it runs on the destination; remove what the source still keeps, then look again
 * - `wait`: it cannot be known yet
 * - `off`: nobody runs it; `neverArrived` when its process on the source ended before the destination could have run it
 * - `conflict`: both run it; touch nothing
 * - `gone`: neither has it
 */
export type Verdict =
  | {
      readonly act: "on-source" | "on-destination" | "resume-source" | "discard-destination" | "forget-source" | "gone";
      readonly text: string;
    }
  | { readonly act: "off"; readonly neverArrived: boolean; readonly text: string }
  | { readonly act: "wait" | "conflict"; readonly text: string };

/** A guest may be let run on one side only when the other side has *said* that it does not run it. */
export function settle(source: Sighting, destination: Sighting): Verdict {
  if (source.presence === "unknown" || destination.presence === "unknown") {
    const silent =
      source.presence === "unknown"
        ? `the source (${source.text})`
        : `the destination (${destination.presence === "unknown" ? destination.text : ""})`;
    return { act: "wait", text: `${silent} does not say` };
  }
  if ((source.presence === "running" || source.presence === "paused") && source.moving) {
    return { act: "wait", text: "the source is still moving it" };
  }
  if (destination.presence === "paused" && destination.by === "migration" && destination.moving)
    return { act: "wait", text: "the destination is moving it on, as only who has it can" };
  if (destination.presence === "running") return runsOnDestination(source);
  if (destination.presence === "paused" && destination.by === "other") return pausedOnDestination(source);
  return notOnDestination(source, destination);
}

/**
 * Whether the source alone may answer, for a destination that is silent. When the server drives, the source's guest
 * is let run again only by a source that was never asked to confirm, or was told that it failed: then nothing was
 * let run over there, and nothing will be. A source that drives by itself may go on without its peer's answer.
 */
export function settleWithout(source: Sighting, { peerToPeer }: { readonly peerToPeer: boolean }): boolean {
  return !peerToPeer && source.presence === "running" && !source.moving;
}

/** Somebody paused it there, or its storage failed: whether it ever ran there cannot be told from the source's half. */
function pausedOnDestination(source: Exclude<Sighting, { presence: "unknown" }>): Verdict {
  return source.presence === "absent" || source.presence === "inactive"
    ? { act: "on-destination", text: "it is on the destination, paused" }
    : { act: "conflict", text: "both hosts have it, and the destination's was paused by somebody else" };
}

function runsOnDestination(source: Exclude<Sighting, { presence: "unknown" }>): Verdict {
  switch (source.presence) {
    case "running":
      return { act: "conflict", text: "both hosts say that they run it" };
    case "paused":
      return source.by === "migration"
        ? { act: "forget-source", text: "it runs on the destination; the source still keeps its paused half" }
        : { act: "conflict", text: "it runs on the destination, and the source keeps one that was paused by somebody else" };
    case "inactive":
      return source.movedAway
        ? { act: "forget-source", text: "it runs on the destination; the source still keeps its definition" }
        : { act: "on-destination", text: "it runs on the destination" };
    case "incoming":
      return { act: "conflict", text: "it runs on the destination, and the source is waiting for it" };
    case "absent":
      return { act: "on-destination", text: "it runs on the destination" };
  }
}

function notOnDestination(
  source: Exclude<Sighting, { presence: "unknown" }>,
  destination: Exclude<Sighting, { presence: "unknown" }>,
): Verdict {
  // A source lets go of it when the destination has let it run: what stands still there is no half of this move.
  if (destination.presence === "paused" && (source.presence === "absent" || (source.presence === "inactive" && source.movedAway)))
    return { act: "wait", text: "the source has let go of it, and it stands still on the destination as another move left it" };
  if (destination.presence === "incoming" || destination.presence === "paused") {
    return { act: "discard-destination", text: "the destination keeps a half that never ran" };
  }
  switch (source.presence) {
    case "running":
      return { act: "on-source", text: "it runs on the source" };
    case "paused":
      return source.by === "migration"
        ? { act: "resume-source", text: "the source keeps it paused and the destination has nothing" }
        : { act: "on-source", text: "it is on the source, paused by somebody else" };
    case "inactive":
      return offOnSource(source.movedAway, destination.presence);
    case "incoming":
      return { act: "wait", text: "the source is waiting for it from elsewhere" };
    case "absent":
      return destination.presence === "inactive"
        ? { act: "off", neverArrived: false, text: "it is off, and only the destination has its definition" }
        : { act: "gone", text: "neither host has it" };
  }
}

/** The destination is given the definition before the guest is let run there: without one, it never was. */
function offOnSource(movedAway: boolean, destination: Sighting["presence"]): Verdict {
  if (movedAway) return { act: "off", neverArrived: false, text: "it is off, and had moved to the destination before" };
  return { act: "off", neverArrived: destination === "absent", text: "it is off: its process on the source ended during the move" };
}
