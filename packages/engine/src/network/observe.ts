import { abortReason, describeError, raceAbort, Semaphore, withDeadline } from "@godwit/core";
import type { HostState } from "../model/host.ts";
import { EngineError } from "../model/errors.ts";
import type { HostShell } from "../ports/shell.ts";
import { type Candidates, findCandidates, type HostReport } from "./candidates.ts";
import type { HostNetworkFacts } from "./facts.ts";
import { readHostNetwork } from "./gather.ts";
import { type ProbedLink, toLink } from "./links.ts";
import { planProbes, type ProbeTarget, runProbes } from "./probe.ts";

/** A host as the owner of the inventory sees it now. */
export interface SourceHost {
  readonly id: string;
  readonly name: string;
  readonly state: HostState;
  /** Why it is not up. */
  readonly reason?: string | undefined;
  /** Where its sshd listens; 22 when absent. Peers try it where ping is missing. */
  readonly sshPort?: number | undefined;
}

/** Where hosts come from. */
export interface HostSource {
  list(): readonly SourceHost[] | Promise<readonly SourceHost[]>;
  /** A shell on a host, which the caller disposes. Rejects when the host is out of reach or has no ssh target. */
  shell(hostId: string, options: { signal: AbortSignal }): Promise<HostShell>;
}

/** All that one look at the hosts found. */
export interface Observation {
  readonly hosts: readonly HostReport[];
  readonly found: Candidates;
  readonly links: readonly ProbedLink[];
}

export interface ObserveOptions {
  readonly source: HostSource;
  /** The newest facts by host id, for hosts that do not answer now. */
  readonly lastFacts: ReadonlyMap<string, HostNetworkFacts>;
  /** Milliseconds that one host may take for its facts, and again for its probes. */
  readonly hostDeadlineMs: number;
  readonly signal: AbortSignal;
}

/** Hosts that are asked at the same time. */
const PARALLEL_HOSTS = 32;

/** Gathers facts on every host that is up, then lets each probe all its peers. A host that fails is reported, not thrown. */
export async function observe(options: ObserveOptions): Promise<Observation> {
  await using shells = new ShellPool(options);
  const listed = await raceAbort(Promise.resolve(options.source.list()), options.signal);
  const hosts = await Promise.all(listed.map((host) => report(host, shells, options)));
  const found = findCandidates(hosts);
  const ports = new Map(listed.map(({ id, sshPort }) => [id, sshPort ?? 22]));
  const probes = planProbes(found.candidates, (hostId) => ports.get(hostId) ?? 22);
  const links = await Promise.all([...probes].map(([hostId, targets]) => probe(hostId, targets, shells)));
  options.signal.throwIfAborted();
  return { hosts, found, links: links.flat() };
}

async function report(
  { id, name, state, reason }: SourceHost,
  shells: ShellPool,
  { lastFacts, signal }: ObserveOptions,
): Promise<HostReport> {
  const facts = lastFacts.get(id);
  if (state !== "up")
    return { id, name, state: "unavailable", problem: `${name} is ${state}${reason === undefined ? "" : `: ${reason}`}`, facts };
  try {
    return { id, name, state: "up", facts: await shells.use(id, "telling its network facts", readHostNetwork) };
  } catch (error) {
    signal.throwIfAborted();
    return { id, name, state: "unknown", problem: `network facts of ${name}: ${describeError(error)}`, facts };
  }
}

async function probe(hostId: string, targets: readonly ProbeTarget[], shells: ShellPool): Promise<ProbedLink[]> {
  try {
    const answers = await shells.use(hostId, "probing its peers", (shell, signal) => runProbes(shell, targets, signal));
    return targets.map((target, index) => toLink(target, answers[index]));
  } catch (error) {
    const problem = `probes of ${targets[0]?.from.host.name}: ${describeError(error)}`;
    return targets.map((target) => toLink(target, undefined, problem));
  }
}

/** One shell per host for the whole look, a bounded number of hosts at a time. */
class ShellPool implements AsyncDisposable {
  readonly #options: ObserveOptions;
  readonly #places = new Semaphore(PARALLEL_HOSTS);
  readonly #open = new Map<string, HostShell>();

  constructor(options: ObserveOptions) {
    this.#options = options;
  }

  async use<T>(hostId: string, doing: string, body: (shell: HostShell, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { source, hostDeadlineMs, signal } = this.#options;
    using _place = await this.#places.acquire({ signal });
    const late = (): Error => new EngineError("timeout", `${doing} took longer than ${Math.round(hostDeadlineMs / 1000)} s`);
    return await withDeadline(hostDeadlineMs, late, signal, async (within) => {
      const shell = this.#open.get(hostId) ?? (await this.#opened(hostId, source.shell(hostId, { signal: within }), within));
      return await raceAbort(body(shell, within), within);
    });
  }

  /** A shell that opens after the deadline is closed at once. */
  async #opened(hostId: string, opening: Promise<HostShell>, within: AbortSignal): Promise<HostShell> {
    const shell = await raceAbort(opening, within).catch(async (error: unknown) => {
      if (within.aborted)
        void opening.then(
          (late) => late[Symbol.asyncDispose](),
          () => undefined,
        );
      throw within.aborted ? abortReason(within) : error;
    });
    this.#open.set(hostId, shell);
    return shell;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((shell) => shell[Symbol.asyncDispose]()));
  }
}
