import { type Clock, describeError, raceAbort } from "@godwit/core";
import type { JobContext } from "../jobs/job.ts";
import { type CounterReading, readCounters } from "../network/index.ts";
import type { MigrationInput, MigrationResult } from "./model.ts";
import type { HostShell } from "../ports/shell.ts";
import { interfaceProofs } from "./proof.ts";
import type { Migrations } from "./service.ts";

/** A proof is worth a second question, where an SSH session was just lost for instance; for so long, milliseconds. */
const counterPatienceMs = 10_000;
const counterTries = 3;

/** The interface counters of both hosts before and after a move: what went over which wire. */
export class Evidence {
  readonly #migrations: Migrations;
  readonly #context: JobContext<MigrationInput>;
  #sentAt: number | undefined;

  constructor(migrations: Migrations, context: JobContext<MigrationInput>) {
    this.#migrations = migrations;
    this.#context = context;
  }

  /** Puts the counters as they are now on record, for {@link interfaces} to compare with. */
  async begin(): Promise<void> {
    await this.#context.note("counters", await this.#counters(this.#clock.monotonic() - justNowMs));
  }

  /** All of the guest is there, so a look at the counters from now on counts all that was sent. */
  sent(): void {
    this.#sentAt = this.#clock.monotonic();
  }

  /** Bytes since {@link begin}, also when that was another server's. */
  async interfaces(): Promise<MigrationResult["interfaces"]> {
    const after = await this.#counters(this.#sentAt ?? this.#clock.monotonic());
    const before = (this.#context.recorded("counters")?.output ?? {}) as Record<string, CounterReading>;
    const { sourceId, source, destinationId, destination } = this.#context.input;
    const ends = [
      { hostId: sourceId, host: source },
      { hostId: destinationId, host: destination },
    ];
    const readings = ends.flatMap(({ hostId, host }) => {
      const [then, now] = [before[hostId], after[hostId]];
      return then && now ? [{ hostId, host, before: then, after: now }] : [];
    });
    return interfaceProofs(readings, this.#migrations.options.networks.list());
  }

  get #clock(): Clock {
    return this.#migrations.options.clock;
  }

  /** Of both hosts, by id, and no older than that; a host that does not tell is left out. */
  async #counters(notBefore: number): Promise<Record<string, CounterReading>> {
    const { sourceId, source, destinationId, destination } = this.#context.input;
    const read = async (id: string): Promise<[string, CounterReading][]> => {
      const shell = this.#migrations.shell(id);
      if (!shell) return [];
      const signal = AbortSignal.any([this.#context.stopping, AbortSignal.timeout(counterPatienceMs)]);
      for (let asked = 1; ; asked += 1) {
        try {
          return [[id, await raceAbort(sharedCounters(shell, this.#clock, notBefore), signal)]];
        } catch (error) {
          this.#context.stopping.throwIfAborted();
          const name = id === sourceId ? source : destination;
          this.#context.log("warn", `the interface counters of ${name} could not be read: ${describeError(error)}`);
          if (asked >= counterTries || signal.aborted) return [];
        }
      }
    };
    return Object.fromEntries((await Promise.all([sourceId, destinationId].map(read))).flat());
  }
}

/** A host that was just lost may be back soon, and what is left on it stands in the way of the next move; milliseconds. */
const deletionPatienceMs = 60_000;
const deletionPauseMs = 500;

/** Moves that begin within such a time of each other begin with the same counters, milliseconds. */
const justNowMs = 1000;

interface Look {
  readonly askedAt: number;
  readonly reading: Promise<CounterReading>;
}

const looks = new WeakMap<HostShell, Look>();

/** The last look at a host, unless it was asked for before that moment: moves of a drain begin where others end. */
function sharedCounters(shell: HostShell, clock: Clock, notBefore: number): Promise<CounterReading> {
  const known = looks.get(shell);
  if (known && known.askedAt >= notBefore) return known.reading;
  const look: Look = { askedAt: clock.monotonic(), reading: readCounters(shell, AbortSignal.timeout(counterPatienceMs)) };
  looks.set(shell, look);
  look.reading.catch(() => (looks.get(shell) === look ? looks.delete(shell) : undefined));
  return look.reading;
}

/** Deletes disk files through their host's pools; what could not be deleted becomes a reason of the job. */
export async function deleteDisks(
  migrations: Migrations,
  context: Pick<JobContext<MigrationInput>, "reason" | "stopping" | "log">,
  what: { readonly hostId: string; readonly paths: readonly string[]; readonly name: string },
): Promise<void> {
  if (what.paths.length === 0) return;
  const { hosts, open, clock } = migrations.options;
  const { stopping } = context;
  const { name: host } = hosts.host(what.hostId);
  const giveUpAt = clock.monotonic() + deletionPatienceMs;
  for (;;) {
    try {
      const left = await open(hosts.hypervisor(what.hostId)).deleteDisks(what.paths, { signal: stopping });
      for (const { path, reason } of left)
        await context.reason({ code: "disk-left", text: `${what.name} ${path} is still on ${host}: ${reason}` });
      return;
    } catch (error) {
      stopping.throwIfAborted();
      const text = `${what.name} of the disks may still be on ${host} (${what.paths.join(", ")}): ${describeError(error)}`;
      if (clock.monotonic() > giveUpAt) return await context.reason({ code: "disk-left", text });
      context.log("warn", `${text}; trying again`);
      await clock.sleep(deletionPauseMs, { signal: stopping });
    }
  }
}
