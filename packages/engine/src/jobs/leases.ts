import { type Clock, describeError } from "@godwit/core";
import type { JobStore } from "../ports/store.ts";
import type { JobLease, JobRecord } from "./job.ts";
import type { JobLog } from "./live-job.ts";

export interface LeasesOptions {
  readonly store: JobStore;
  readonly clock: Clock;
  readonly owner: string;
  readonly leaseMs: number;
  readonly log: JobLog;
  /** Jobs that this server believes it holds. */
  holds(): Iterable<string>;
  /** This server may not act for the job any more. */
  lost(jobId: string): void;
  taken(jobs: readonly JobRecord[]): void;
}

/**
 * Keeps the leases of this server, and takes over those of dead ones.
 *
 * No wall clock decides. A server takes a lease once it watched it unchanged for `leaseMs` of its own
 * monotonic time; a server whose renewals failed for `leaseMs`, counted from before the last good one, has by
 * then let go by itself. A store that admits one server only (`exclusive`) needs neither: whatever it holds
 * unfinished on start is nobody's, and nobody can take what is ours.
 */
export class Leases {
  readonly #options: LeasesOptions;
  #seen: ReadonlyMap<string, { readonly lease: JobLease; readonly since: number }> = new Map();
  #renewedAt: number;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#renewedAt = options.clock.monotonic();
  }

  /** When a lease taken or renewed now ends, for people to read. */
  until(): number {
    return this.#options.clock.now() + this.#options.leaseMs;
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#take();
    this.#renewedAt = this.#options.clock.monotonic();
    this.#loop = this.#run(signal);
  }

  /** Resolves once the loop of `start` ended. */
  async ended(): Promise<void> {
    await this.#loop;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, leaseMs, log } = this.#options;
    for (;;) {
      try {
        await clock.sleep(leaseMs / 3, { signal });
        await this.#renew();
        if (!this.#options.store.exclusive) await this.#take();
      } catch (error) {
        if (signal.aborted) return;
        log.warn({}, `leases of jobs could not be renewed: ${describeError(error)}`);
        this.#letGoInTime();
      }
    }
  }

  async #renew(): Promise<void> {
    const { store, clock, owner } = this.#options;
    const startedAt = clock.monotonic();
    const before = [...this.#options.holds()];
    if (before.length > 0) {
      const held = new Set(await store.renew(owner, this.until()));
      const still = new Set(this.#options.holds());
      for (const id of before) if (!held.has(id) && still.has(id)) this.#options.lost(id);
    }
    this.#renewedAt = startedAt;
  }

  #letGoInTime(): void {
    const { clock, leaseMs, store } = this.#options;
    // The next look is a third of the lease away, so this must happen one look early.
    if (store.exclusive || clock.monotonic() - this.#renewedAt < (leaseMs * 2) / 3) return;
    for (const id of this.#options.holds()) this.#options.lost(id);
  }

  async #take(): Promise<void> {
    const { store, owner, clock, leaseMs } = this.#options;
    const now = clock.monotonic();
    const seen = new Map<string, { readonly lease: JobLease; readonly since: number }>();
    const isOver = (jobId: string, lease: JobLease): boolean => {
      if (store.exclusive) return true;
      const before = this.#seen.get(jobId);
      const unchanged = before && before.lease.owner === lease.owner && before.lease.until === lease.until;
      const since = unchanged ? before.since : now;
      seen.set(jobId, { lease, since });
      return now - since >= leaseMs;
    };
    const taken = await store.claim(owner, this.until(), isOver);
    this.#seen = seen;
    this.#options.taken(taken);
  }
}
