import type { Moment, MomentPlace } from "../ports/backup.ts";
import type { CaptureDone, CaptureInput, CheckedDisk } from "./model.ts";
import type { Felt } from "./pace.ts";
import type { CapturePlan, Verdict } from "./plan.ts";
import type { Stored } from "./reading.ts";
import type { BackupRoute } from "./routes.ts";

/** A moment that was taken, and how it is read. */
export interface Begun {
  readonly route: BackupRoute;
  readonly plan: CapturePlan;
  readonly place: MomentPlace;
  readonly moment: Moment;
}

/** What reading a moment gave. */
export interface Read extends Stored {
  readonly felt: Felt;
  readonly checked?: readonly CheckedDisk[];
}

interface Facts {
  readonly input: CaptureInput;
  /** The host's name. */
  readonly host: string;
  readonly begun: Begun;
  readonly stored: Read;
  readonly verdict: Verdict;
  readonly totalMs: number;
}

/** The result of a capture whose point is in the vault; the bytes of the interfaces come last. */
export function captureDone({ input, host, begun, stored, verdict, totalMs }: Facts): CaptureDone {
  const { vmId, vm, vaultId, vault } = input;
  const { moment, plan, route } = begun;
  const { point, readBytes, felt, checked } = stored;
  const figure = (name: string): number => point.figures[name] ?? 0;
  return {
    outcome: "captured",
    vmId,
    vm,
    host,
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
    route,
    interfaces: [],
    totalMs,
  };
}
