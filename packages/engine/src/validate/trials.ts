import { describeError } from "@godwit/core";
import { randomUUID } from "node:crypto";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { interfaceProofs, proofSentence } from "../migration/proof.ts";
import { defaultMaximumPauseMs } from "../migration/contract.ts";
import type { Migrations } from "../migration/index.ts";
import { reaches } from "../migration/sharing.ts";
import { EngineError } from "../model/errors.ts";
import type { HostView } from "../model/host.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import { type CounterReading, readCounters } from "../network/index.ts";
import type { HostMigration, MoveProgress } from "../ports/migration.ts";
import { fail, notApplicable, pass, warn } from "./model.ts";

/** The hosts as they were when it was asked for. */
export type TrialsInput = { readonly hosts: { readonly id: string; readonly name: string }[] };

/** One check for each ordered pair of hosts, and when they were tried, RFC 3339. */
export interface TrialsResult {
  readonly checks: readonly Check[];
  readonly startedAt: string;
  readonly endedAt: string;
}

interface Pair {
  readonly source: HostView;
  readonly destination: HostView;
}

/** Pairs at the same time, no host in two of them: what its interfaces count belongs to one guest. */
const simultaneous = 4;
/** A guest of this size that is not there by then does not come. */
const pairLimitMs = 60_000;
/** After a crash, a host that does not answer is asked again for so long. */
const patienceMs = 60_000;

type Context = JobContext<TrialsInput>;

/**
 * The job that moves a tiny guest without disks between every ordered pair of hosts, over the network that the rules
 * choose. Each guest is on record before it starts, and is ended however its move went; an attempt that follows a
 * server's death ends those that were left, and says so.
 */
export function trialsKind(migrations: Migrations, hosts: () => readonly HostView[]): JobKind<TrialsInput> {
  return {
    kind: "cluster.try-migrations",
    title: ({ hosts: { length } }) => `Try migration between ${length} hosts`,
    subject: () => ({ type: "cluster", id: "cluster", name: "cluster" }),
    locks: () => ["cluster:try-migrations"],
    slots: () => [],
    run: (context) => new Trials(migrations, hosts, context).run(),
  };
}

class Trials {
  readonly #migrations: Migrations;
  readonly #hosts: () => readonly HostView[];
  readonly #context: Context;
  /** Guests that may be somewhere. */
  readonly #guests = new Set<string>();

  constructor(migrations: Migrations, hosts: () => readonly HostView[], context: Context) {
    this.#migrations = migrations;
    this.#hosts = hosts;
    this.#context = context;
  }

  async run(): Promise<TrialsResult> {
    const { signal, attempt } = this.#context;
    if (attempt > 1) {
      await this.#endLeft();
      signal.throwIfAborted();
      throw new EngineError("interrupted", "the server ended while migration was tried; no guest of it is left: try again");
    }
    const startedAt = this.#now();
    const known = new Map(this.#hosts().map((host) => [host.id, host]));
    const wanted = this.#context.input.hosts.map(({ id, name }) => ({ name, host: known.get(id) }));
    const up = wanted.flatMap(({ host }) => (host?.state === "up" ? [host] : []));
    const out = wanted.filter(({ host }) => host?.state !== "up").map(({ name, host }) => away(name, host));
    const pairs = up.flatMap((source) => up.filter((one) => one !== source).map((destination) => ({ source, destination })));
    const checks = await this.#all(pairs);
    if (pairs.length === 0) out.push(notApplicable("tried", "migration needs two hosts that are up", "add one: godwit host add"));
    return { checks: [...checks, ...out], startedAt, endedAt: this.#now() };
  }

  /** All pairs, some at a time; each one's check at the place of its pair. */
  async #all(pairs: readonly Pair[]): Promise<Check[]> {
    const { signal } = this.#context;
    const checks: Check[] = [];
    const left = pairs.map((pair, at) => ({ ...pair, at }));
    const busy = new Set<string>();
    const running = new Set<Promise<void>>();
    let done = 0;
    await using _others = { [Symbol.asyncDispose]: async () => void (await Promise.allSettled(running)) };
    while (left.length > 0 || running.size > 0) {
      const free =
        running.size < simultaneous && !signal.aborted
          ? left.findIndex((one) => !busy.has(one.source.id) && !busy.has(one.destination.id))
          : -1;
      if (free >= 0) {
        const [{ at, ...pair }] = left.splice(free, 1) as [Pair & { readonly at: number }];
        const ends = [pair.source.id, pair.destination.id];
        for (const id of ends) busy.add(id);
        const one = this.#try(pair).then((check) => {
          checks[at] = check;
          done += 1;
          this.#context.progress({
            phase: `${pair.source.name} → ${pair.destination.name}: ${check.verdict}`,
            fraction: done / pairs.length,
          });
          for (const id of ends) busy.delete(id);
          running.delete(one);
        });
        running.add(one);
        one.catch(() => undefined);
      } else if (running.size === 0) signal.throwIfAborted();
      else await Promise.race(running);
    }
    return checks;
  }

  async #try(pair: Pair): Promise<Check> {
    const { source, destination } = pair;
    const id = `${source.name} → ${destination.name}`;
    const signal = AbortSignal.any([this.#context.signal, AbortSignal.timeout(pairLimitMs)]);
    try {
      const verdicts = await this.#migrations.options.networks.verdicts(source.id, destination.id);
      const chain = verdicts.filter(({ rank }) => rank !== undefined);
      if (chain.length === 0)
        return fail(id, "no network may carry a migration", `see: godwit network list, and the exclusions of 'godwit live-migration get'`);
      return await this.#over(id, pair, chain, signal);
    } catch (error) {
      this.#context.signal.throwIfAborted();
      const text = signal.aborted ? `it did not arrive within ${pairLimitMs / 1000} s` : describeError(error);
      return fail(id, text, `see: godwit doctor, and the hypervisor's log on both hosts`);
    }
  }

  async #over(id: string, pair: Pair, chain: readonly NetworkVerdict[], signal: AbortSignal): Promise<Check> {
    const silent: string[] = [];
    const shell = this.#migrations.shell(pair.source.id);
    for (const network of chain) {
      const { sourceAddress, destinationAddress } = network;
      if (
        shell &&
        sourceAddress !== undefined &&
        destinationAddress !== undefined &&
        (await reaches(shell, sourceAddress, destinationAddress, signal)) === "silent"
      ) {
        silent.push(`${network.network} is silent (${destinationAddress} does not answer ${sourceAddress})`);
        continue;
      }
      const said = await this.#move(pair, network, signal);
      if (silent.length === 0) return { ...said, id };
      return warn(id, `${silent.join("; ")}; ${said.text}`, "check cables, switches and firewalls of the silent network");
    }
    return fail(id, silent.join("; "), "check cables, switches and firewalls: godwit network show");
  }

  async #move({ source, destination }: Pair, network: NetworkVerdict, signal: AbortSignal): Promise<Omit<Check, "id">> {
    const { hosts, open, clock, networks } = this.#migrations.options;
    const from = open(hosts.hypervisor(source.id));
    const there = hosts.hypervisor(destination.id);
    const guest = randomUUID();
    const before = await this.#counters([source, destination], signal);
    await this.#note(() => this.#guests.add(guest));
    let figures: MoveProgress;
    const startedAt = clock.monotonic();
    try {
      const accelerated = source.facts?.acceleration.kind === "kvm";
      await from.startThrowaway({ id: guest, purpose: "trial", accelerated, files: [], runs: true }, { signal });
      const request = {
        vmId: guest,
        destinationAddress: network.destinationAddress ?? "",
        copies: [],
        networks: {},
        sharingProven: false,
        contract: { maximumPauseMs: defaultMaximumPauseMs, policy: "strict" },
        transport: { tls: false, zeroCopy: false },
      } as const;
      figures = await from.move(there, request, { phase: () => Promise.resolve(), progress: () => undefined }, { signal });
    } finally {
      if (!this.#context.stopping.aborted) await this.#end(guest, [from, open(there)]);
    }
    const tookMs = Math.round(clock.monotonic() - startedAt);
    const after = await this.#counters([source, destination], signal);
    const readings = [source, destination].flatMap(({ id: hostId, name: host }) => {
      const [then, now] = [before.get(hostId), after.get(hostId)];
      return then && now ? [{ hostId, host, before: then, after: now }] : [];
    });
    const proof = proofSentence(interfaceProofs(readings, networks.list()), {
      sourceId: source.id,
      destinationId: destination.id,
      networkId: network.networkId,
      movedBytes: figures.memoryProcessedBytes,
    });
    return judge(network.network, tookMs, figures.pauseMs, proof);
  }

  async #counters(of: readonly HostView[], signal: AbortSignal): Promise<Map<string, CounterReading>> {
    const read = of.map(async ({ id, name }): Promise<[string, CounterReading][]> => {
      const shell = this.#migrations.shell(id);
      if (!shell) return [];
      try {
        return [[id, await readCounters(shell, signal)]];
      } catch (error) {
        signal.throwIfAborted();
        this.#context.log("warn", `the interface counters of ${name} could not be read: ${describeError(error)}`);
        return [];
      }
    });
    return new Map((await Promise.all(read)).flat());
  }

  /** On both hosts; what cannot be ended now is kept on record. */
  async #end(guest: string, sides: readonly HostMigration[]): Promise<void> {
    const signal = this.#context.stopping;
    const ended = await Promise.allSettled(sides.map((side) => side.endThrowaway(guest, { signal })));
    const failed = ended.find((one) => one.status === "rejected");
    if (!failed) return await this.#note(() => this.#guests.delete(guest));
    signal.throwIfAborted();
    await this.#context.reason({ code: "guest-left", text: `the guest ${guest} may be left: ${describeError(failed.reason)}` });
  }

  /** Persisted before anybody relies on it. */
  async #note(change: () => unknown): Promise<void> {
    change();
    await this.#context.note("guests", [...this.#guests]);
  }

  /** After a server's death: ends what it left, on every host, and waits for those that do not answer yet. */
  async #endLeft(): Promise<void> {
    const { hosts, open, clock } = this.#migrations.options;
    const { stopping, input } = this.#context;
    const guests = (this.#context.recorded("guests")?.output ?? []) as string[];
    const giveUpAt = clock.monotonic() + patienceMs;
    let left = guests.length === 0 ? [] : input.hosts;
    while (left.length > 0) {
      const silent: typeof left = [];
      for (const host of left) {
        try {
          const side = open(hosts.hypervisor(host.id));
          for (const guest of guests) await side.endThrowaway(guest, { signal: stopping });
        } catch {
          stopping.throwIfAborted();
          silent.push(host);
        }
      }
      left = silent;
      if (left.length === 0) return;
      const names = left.map(({ name }) => name).join(", ");
      if (clock.monotonic() > giveUpAt)
        throw new EngineError(
          "host-lost",
          `a tiny guest of the trial may be left on ${names}, which did not answer: look for 'godwit-trial-' there`,
        );
      await clock.sleep(500, { signal: stopping });
    }
  }

  #now(): string {
    return new Date(this.#migrations.options.clock.now()).toISOString();
  }
}

function away(name: string, host: HostView | undefined): Check {
  return notApplicable(
    name,
    host ? `it is ${host.state}: ${host.reason.text}` : "it was removed meanwhile",
    "bring it back, and try again",
  );
}

function judge(network: string, tookMs: number, pauseMs: number | undefined, proof: string): Omit<Check, "id"> {
  const pause = pauseMs === undefined ? "a pause that was not told" : `a pause of ${Math.round(pauseMs)} ms`;
  const text = `over ${network} in ${(tookMs / 1000).toFixed(1)} s, with ${pause}: ${proof}`;
  if (/^not proven/i.test(proof)) return warn("", text, "give Godwit SSH access to both hosts, so that it can read their counters");
  if (pauseMs !== undefined && pauseMs > defaultMaximumPauseMs)
    return warn(
      "",
      text,
      `the pause is more than the ${defaultMaximumPauseMs} ms that moves promise: see how busy both hosts and the network are`,
    );
  return pass("", text);
}
