import { describeError, Semaphore, toError } from "@godwit/core";
import type { Migrations } from "../migration/index.ts";
import { EngineError } from "../model/errors.ts";
import type { HostView } from "../model/host.ts";
import type { Check } from "../model/reason.ts";
import type { CpuDescription, HostCpu } from "../ports/cpu.ts";
import type { PlacementHosts } from "../placement/gather.ts";
import { type BaselineFacts, type CpuBaseline, cpuBaseline } from "./baseline.ts";

export interface CpusOptions {
  readonly hosts: PlacementHosts;
  /** The CPU side of a connected host. Throws `host-lost` while there is no connection. */
  readonly open: (host: HostView) => HostCpu;
  readonly migrations: Pick<Migrations, "prepare" | "resolve">;
}

interface Cancellable {
  readonly signal: AbortSignal;
}

/** What keeps one VM from one host, or speaks against it, as `Compare-VM` reports it. */
export interface Comparison {
  readonly hostId: string;
  readonly host: string;
  readonly compatible: boolean;
  /** Only those that did not simply pass. */
  readonly findings: readonly Check[];
}

export interface ComparisonReport {
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly hosts: readonly Comparison[];
}

const simultaneous = 4;

/** Compares CPUs over a cluster, and VMs with hosts. Changes nothing. */
export class Cpus {
  readonly #options: CpusOptions;

  constructor(options: CpusOptions) {
    this.#options = options;
  }

  /** The CPU that all connected hosts can give, and what stands in its way. */
  async baseline({ signal }: Cancellable): Promise<CpuBaseline> {
    const hosts = this.#options.hosts.hosts();
    const cpus = await Promise.all(
      hosts.map(async (host) => ({
        hostId: host.id,
        host: host.name,
        cpu: await this.#ask(signal, () => this.#options.open(host).offered({ signal })),
      })),
    );
    const known = cpus.flatMap(({ hostId, cpu }) => (cpu instanceof Error ? [] : [{ hostId, cpu }]));
    const common = await this.#common(known, signal);
    return cpuBaseline({ hosts: cpus, common, vms: await this.#given(signal) });
  }

  /** Every other host, or just one, with everything that keeps a VM from it. Throws `not-found` or `ambiguous`. */
  async compare(vmRef: string, { to, signal }: Cancellable & { readonly to?: string | undefined }): Promise<ComparisonReport> {
    const { hosts, migrations } = this.#options;
    const vm = hosts.vm(vmRef);
    const others = to === undefined ? hosts.hosts().filter(({ id }) => id !== vm.hostId) : [hosts.host(to)];
    const compared = await Promise.all(
      others.map(async ({ id, name }): Promise<Comparison> => {
        try {
          const { plan } = await migrations.prepare(migrations.resolve({ vm: vm.id, to: id }), { signal });
          return {
            hostId: id,
            host: name,
            compatible: plan.possible,
            findings: plan.checks.filter(({ verdict }) => verdict === "fail" || verdict === "warn"),
          };
        } catch (error) {
          signal.throwIfAborted();
          const finding: Check = { id: "reachable", verdict: "fail", text: describeError(error), remedy: "see: godwit doctor" };
          return { hostId: id, host: name, compatible: false, findings: [finding] };
        }
      }),
    );
    return { vmId: vm.id, vm: vm.name, host: vm.host, hosts: compared };
  }

  async #common(
    known: readonly { readonly hostId: string; readonly cpu: CpuDescription }[],
    signal: AbortSignal,
  ): Promise<CpuDescription | Error> {
    const [first] = known;
    if (!first) return new EngineError("host-lost", "no host could be asked");
    const host = this.#options.hosts.host(first.hostId);
    return await this.#ask(signal, () =>
      this.#options.open(host).common(
        known.map(({ cpu }) => cpu),
        { signal },
      ),
    );
  }

  async #given(signal: AbortSignal): Promise<BaselineFacts["vms"]> {
    const { hosts, open } = this.#options;
    const running = hosts.vms().filter(({ state }) => state === "running" || state === "paused");
    const slots = new Semaphore(simultaneous);
    return await Promise.all(
      running.map(async ({ id, name, hostId }) => {
        using _slot = await slots.acquire({ signal });
        return { vmId: id, vm: name, hostId, given: await this.#ask(signal, () => open(hosts.host(hostId)).given(id, { signal })) };
      }),
    );
  }

  /** What cannot be asked is part of the report. */
  async #ask<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T | Error> {
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      return new Error(describeError(toError(error)), { cause: error });
    }
  }
}
