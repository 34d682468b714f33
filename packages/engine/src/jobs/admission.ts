import type { Reason } from "../model/reason.ts";
import type { JobSlot } from "./job.ts";

/** A job as admission sees it. */
export interface Applicant {
  readonly id: string;
  readonly title: string;
  readonly locks: readonly string[];
  readonly slots: readonly JobSlot[];
  /** A server that died ran it: what it did goes on out there, so no limit can hold it back now. */
  readonly resumed: boolean;
}

export interface AdmissionInput {
  readonly running: readonly Applicant[];
  /** In the order of their creation. */
  readonly queued: readonly Applicant[];
  /** By slot name. An error is a limit that could not be read; nobody is let in by it. */
  readonly limits: ReadonlyMap<string, number | Error>;
}

export interface Admission {
  readonly admitted: readonly string[];
  /** Why each of the others waits. */
  readonly waiting: ReadonlyMap<string, readonly Reason[]>;
}

/**
 * Who may start now. A job gets all of its locks and slots at once or none, so no two can wait for each
 * other. Each lock is first come, first served: a waiting job is passed only by jobs that share no lock with
 * it. A job that waits for slots alone keeps a place in each of them, so that jobs with fewer wishes cannot
 * starve it; but a slot limited to 0 may never open, and who waits for one keeps nothing.
 */
export function decideAdmission({ running, queued, limits }: AdmissionInput): Admission {
  const claims = new Claims();
  for (const applicant of running) claims.add(applicant, true);
  const admitted: string[] = [];
  const waiting = new Map<string, readonly Reason[]>();
  for (const applicant of queued) {
    const behind = claims.aheadInLocks(applicant);
    if (behind.length > 0) {
      waiting.set(applicant.id, [{ code: "behind-job", text: `waits until ${names(behind)} ended` }]);
      claims.add(applicant, false);
      continue;
    }
    const lacking = applicant.resumed ? [] : applicant.slots.filter((slot) => !claims.fits(slot, limits.get(slot.name)));
    if (lacking.length > 0) {
      waiting.set(
        applicant.id,
        lacking.map((slot) => slotReason(slot, limits.get(slot.name), claims.inSlot(slot))),
      );
      claims.add(
        applicant,
        lacking.every((slot) => isOpen(limits.get(slot.name))),
      );
      continue;
    }
    claims.add(applicant, true);
    admitted.push(applicant.id);
  }
  return { admitted, waiting };
}

/** Who holds or waits for each lock and slot, in order. */
class Claims {
  readonly #locks = new Map<string, Applicant[]>();
  readonly #slots = new Map<string, Applicant[]>();

  add(applicant: Applicant, withSlots: boolean): void {
    for (const lock of new Set(applicant.locks)) append(this.#locks, lock, applicant);
    if (!withSlots) return;
    for (const slot of applicant.slots) append(this.#slots, slot.name, applicant);
  }

  aheadInLocks(applicant: Applicant): Applicant[] {
    return [...new Set(applicant.locks.flatMap((lock) => this.#locks.get(lock) ?? []))];
  }

  inSlot(slot: JobSlot): readonly Applicant[] {
    return this.#slots.get(slot.name) ?? [];
  }

  fits(slot: JobSlot, limit: number | Error | undefined): boolean {
    return typeof limit === "number" && this.inSlot(slot).length < limit;
  }
}

function append(map: Map<string, Applicant[]>, key: string, applicant: Applicant): void {
  const list = map.get(key);
  if (list) list.push(applicant);
  else map.set(key, [applicant]);
}

function isOpen(limit: number | Error | undefined): boolean {
  return typeof limit === "number" && limit > 0;
}

function slotReason(slot: JobSlot, limit: number | Error | undefined, ahead: readonly Applicant[]): Reason {
  if (typeof limit !== "number") {
    const why = limit ? `: ${limit.message}` : "";
    return { code: "limit-unknown", text: `the limit of ${slot.label} cannot be read${why}` };
  }
  if (limit <= 0) return { code: "limit-zero", text: `${slot.label} are limited to 0` };
  return { code: "no-slot", text: `all ${limit} ${slot.label} are taken: waits behind ${names(ahead)}` };
}

const maxNames = 5;

function names(applicants: readonly Applicant[]): string {
  const shown = applicants.slice(0, maxNames).map(({ id, title }) => `job ${id} (${title})`);
  const more = applicants.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
