import type { MoveProgress } from "../ports/migration.ts";

/**
 * What happens when memory changes faster than it can be sent within the pause that was promised.
 *
 * - `strict`: the move is given up, the guest untouched
 * - `auto-converge`: the hypervisor slows the guest, up to a bound; then it is given up
 * - `post-copy`: the guest goes on at the destination before its memory is there; a lost link then ends it
 * - `suspend-at-last`: the guest is paused for as long as the rest takes
 */
export type PausePolicy = "strict" | "auto-converge" | "post-copy" | "suspend-at-last";

export interface PauseContract {
  readonly maximumPauseMs: number;
  readonly policy: PausePolicy;
}

/** As on oVirt's default schedule, the last step is what was promised. */
export const defaultMaximumPauseMs = 300;

/** Of a promised pause, at least so much is for what is left to send. */
const leastRoom = 1 / 3;

/** What of a promised pause is left for sending, when so much of it passes anyway; milliseconds. */
export function roomOf(maximumPauseMs: number, switchoverMs: number): number {
  return Math.max(maximumPauseMs * leastRoom, maximumPauseMs - switchoverMs);
}

export type ContractAct =
  | { readonly act: "none" }
  /** The pause that the hypervisor may aim at from now on. */
  | { readonly act: "limit"; readonly pauseMs: number }
  | { readonly act: "give-up" | "post-copy" | "suspend"; readonly text: string };

/** Shares of the promised pause, one more after every round that did not get nearer. */
const steps = [1 / 8, 1 / 3, 2 / 3, 1] as const;
/** A round gets nearer when it begins with this much less than the one before. */
const nearer = 0.9;
/** Rounds without progress that are waited for at the promised pause. */
const patience = 2;
/** The hypervisor is to throttle the guest no more than this, percent. */
export const maximumThrottlePercent = 80;
/** Rounds without progress that a throttle may take to be felt. */
const throttlePatience = 40;
/** The round after the one in which the throttle reached its bound is the first that was written at it. */
const roundsAtBound = 2;

/**
 * Watches a live migration and says when the pause limit is raised, and when it is time for the policy. Fed
 * with every reading of the hypervisor's figures; reads no clock.
 */
export class ContractWatch {
  readonly #contract: PauseContract;
  readonly #roomMs: number;
  #step = -1;
  #round = 0;
  /** What was left when the round before began. */
  #before = Infinity;
  #stalled = 0;
  #stalledAtBound = 0;
  #over = false;

  /** `switchoverMs`: what of a pause passes anyway; what is left to send may take the rest. */
  constructor(contract: PauseContract, switchoverMs = 0) {
    this.#contract = contract;
    this.#roomMs = roomOf(contract.maximumPauseMs, switchoverMs);
  }

  /** Milliseconds; undefined before the first reading. */
  get limitMs(): number | undefined {
    return this.#step < 0 ? undefined : this.#limit();
  }

  /** The first limit, before anything is sent: what is sent within no time is sent before the first reading. */
  begin(): ContractAct {
    return this.#raise();
  }

  next(progress: MoveProgress): ContractAct {
    if (this.#over || progress.memoryTotalBytes === 0) return { act: "none" };
    if (this.#step < 0) return this.#raise();
    if ((progress.throttlePercent ?? 0) > maximumThrottlePercent) return this.#atLast(progress);
    const round = progress.rounds ?? 0;
    if (round <= this.#round || round < 2) return { act: "none" };
    this.#round = round;
    const left = progress.memoryRemainingBytes;
    const stalls = left >= this.#before * nearer;
    this.#before = left;
    if (!stalls) return { act: "none" };
    if (this.#step < steps.length - 1) return this.#raise();
    this.#stalled += 1;
    if (progress.throttlePercent === maximumThrottlePercent) this.#stalledAtBound += 1;
    return this.#stalled > patience ? this.#atLast(progress) : { act: "none" };
  }

  #raise(): ContractAct {
    this.#step += 1;
    return { act: "limit", pauseMs: this.#limit() };
  }

  #limit(): number {
    return Math.max(1, Math.round(this.#roomMs * (steps[this.#step] ?? 1)));
  }

  #atLast({ throttlePercent = 0, rounds = 0 }: MoveProgress): ContractAct {
    const { policy, maximumPauseMs } = this.#contract;
    const why = `after ${rounds} rounds, what is left still takes longer than the ${maximumPauseMs} ms that were promised`;
    if (policy === "auto-converge" && this.#mayStillBeFelt(throttlePercent)) return { act: "none" };
    this.#over = true;
    switch (policy) {
      case "strict":
        return { act: "give-up", text: why };
      case "auto-converge":
        return { act: "give-up", text: `${why}, although the guest was slowed by ${throttlePercent} %` };
      case "post-copy":
        return { act: "post-copy", text: `${why}: it goes on at the destination, and its memory follows` };
      case "suspend-at-last":
        return { act: "suspend", text: `${why}: it is paused until the rest is there` };
    }
  }

  #mayStillBeFelt(throttlePercent: number): boolean {
    if (throttlePercent > maximumThrottlePercent || this.#stalled >= throttlePatience) return false;
    return throttlePercent < maximumThrottlePercent || this.#stalledAtBound < roundsAtBound;
  }
}
