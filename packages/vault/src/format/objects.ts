import { VaultError } from "../errors.ts";

/** Object names; docs/formats/vault.md, section 1. */
export const objectName = {
  config: "config",
  slot: (slot: string): string => `slot/${slot}`,
  grant: (slot: string, epoch: number): string => `grant/${slot}/${epochDigits(epoch)}`,
  epoch: (epoch: number): string => `epoch/${epochDigits(epoch)}`,
  /** The second copy of an epoch object. */
  spare: (epoch: number): string => `spare/${epochDigits(epoch)}`,
  pack: (kind: PackKind, batch: string, pack: string): string => `${kind}/${batch}/${pack}`,
  index: (batch: string): string => `index/${batch}`,
  session: (session: string): string => `session/${session}`,
  point: (point: string): string => `point/${point}`,
  /** `pack` is the pack's id, without its kind and batch. */
  hurt: (pack: string, mark: string): string => `hurt/${pack}/${mark}`,
  mark: (mark: string): string => `mark/${mark}`,
  wait: (mark: string): string => `wait/${mark}`,
  doom: (mark: string): string => `doom/${mark}`,
  hold: (point: string, hold: string): string => `hold/${point}/${hold}`,
};

export type PackKind = "data" | "tree";

export const limits = {
  recordBytes: 8 << 20,
  recordItems: 256,
  packBytes: 64 << 20,
  jsonBytes: 64 << 20,
  indexBytes: 256 << 20,
  minGrid: 4 << 10,
  maxGrid: 4 << 20,
  disks: 1000,
  slots: 1000,
};

export function epochDigits(epoch: number): string {
  return epoch.toString(16).padStart(8, "0");
}

export function batchName(session: string, number: number): string {
  if (number > 0xffff) throw new VaultError("invalid", `session ${session} has used all of its 65536 batches`);
  return session + number.toString(16).padStart(4, "0");
}

/** The session that wrote a batch. */
export function sessionOf(batch: string): string {
  return batch.slice(0, 16);
}

export function isGrid(grid: number): boolean {
  return Number.isInteger(grid) && grid >= limits.minGrid && grid <= limits.maxGrid && (grid & (grid - 1)) === 0;
}

/** Where a record is. `pack` is the object's name. */
export interface RecordPlace {
  readonly pack: string;
  readonly offset: number;
  /** Of the frame, tag included. */
  readonly length: number;
}
