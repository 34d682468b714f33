import { isDeepStrictEqual } from "node:util";
import { abortReason, anySignal, type Clock, describeError, raceAbort, toError, withDeadline } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostFacts, PoolFacts } from "../model/host.ts";
import type { VmFacts } from "../model/vm.ts";
import type { HostEvent, HypervisorHost } from "../ports/hypervisor.ts";
import type { Log } from "./log.ts";
import { Nudge } from "./nudge.ts";
import type { InventoryTiming } from "./timing.ts";

/** Where a reader puts what it reads. `askedAt` is monotonic. */
export interface ReadingSink {
  facts(facts: HostFacts): void;
  /** Every VM of the host: others are gone. */
  vms(vms: readonly VmFacts[], askedAt: number): void;
  /** One VM; `undefined` when it is gone. */
  vm(id: string, facts: VmFacts | undefined, askedAt: number): void;
  pools(pools: readonly PoolFacts[]): void;
  /** Everything was read once. */
  up(): void;
}

/** More single questions than this are asked as one for everything. */
const MANY = 32;
/** A VM that changes again and again, as one does that moves, is read again no sooner than this, milliseconds. */
const againMs = 250;

/**
 * Keeps one connection's readings fresh, one question at a time, so that no answer can overtake a newer one.
 * What is read after the connection ended goes nowhere.
 */
export class HostReader {
  readonly host: HypervisorHost;
  readonly #sink: ReadingSink;
  readonly #clock: Clock;
  readonly #timing: InventoryTiming;
  readonly #log: Log;
  readonly #nudge = new Nudge();
  readonly #ended = new AbortController();
  #askAll = false;
  #askPools = false;
  readonly #ask = new Map<string, PromiseWithResolvers<VmFacts | undefined> | undefined>();
  /** VMs that changed again soon after they were read, and when to read them; monotonic, as is when they were. */
  readonly #later = new Map<string, number>();
  readonly #readAt = new Map<string, number>();
  #read: { facts?: HostFacts; pools?: readonly PoolFacts[] } = {};

  constructor(host: HypervisorHost, options: { sink: ReadingSink; clock: Clock; timing: InventoryTiming; log: Log }) {
    this.host = host;
    this.#sink = options.sink;
    this.#clock = options.clock;
    this.#timing = options.timing;
    this.#log = options.log;
  }

  /** Reads until the connection ends, and throws why; or `signal.reason`. Nothing is put into the sink after that. */
  async run(signal: AbortSignal): Promise<never> {
    const both = anySignal(signal, this.#ended.signal);
    void this.host.closed.then((reason) => this.#end(reason ?? new EngineError("host-lost", "the connection was closed")));
    const ends = [this.#listen(both), this.#work(both)].map((loop) => loop.catch((error: unknown) => this.#end(toError(error))));
    await Promise.all(ends);
    throw signal.aborted ? abortReason(signal) : abortReason(this.#ended.signal);
  }

  /** What the host says of one VM from now on; undefined when it has none such. */
  refresh(vmId: string, signal: AbortSignal): Promise<VmFacts | undefined> {
    if (this.#ended.signal.aborted) return Promise.reject(abortReason(this.#ended.signal));
    const asked = this.#ask.get(vmId) ?? Promise.withResolvers<VmFacts | undefined>();
    asked.promise.catch(() => undefined); // Whoever asked may have left.
    this.#ask.set(vmId, asked);
    this.#nudge.give();
    return raceAbort(asked.promise, signal);
  }

  #end(reason: Error): void {
    this.#ended.abort(reason);
    for (const asked of this.#ask.values()) asked?.reject(reason);
    this.#ask.clear();
  }

  async #listen(signal: AbortSignal): Promise<void> {
    for await (const event of this.host.events({ signal })) this.#note(event);
    throw new EngineError("host-lost", "the hypervisor tells nothing more");
  }

  #note(event: HostEvent): void {
    switch (event.kind) {
      case "vm-changed":
        this.#noteChanged(event.vmId);
        break;
      case "vm-removed":
        if (!this.#ask.has(event.vmId)) this.#ask.set(event.vmId, undefined);
        break;
      case "pools-changed":
        this.#askPools = true;
        break;
      case "overflow":
        this.#askAll = true;
        break;
    }
    this.#nudge.give();
  }

  #noteChanged(vmId: string): void {
    if (this.#ask.has(vmId) || this.#later.has(vmId)) return;
    const due = (this.#readAt.get(vmId) ?? -Infinity) + againMs;
    if (due > this.#clock.monotonic()) this.#later.set(vmId, due);
    else this.#ask.set(vmId, undefined);
  }

  #askDue(): void {
    const now = this.#clock.monotonic();
    for (const [vmId, due] of this.#later) {
      if (due > now) continue;
      this.#later.delete(vmId);
      if (!this.#ask.has(vmId)) this.#ask.set(vmId, undefined);
    }
    for (const [vmId, at] of this.#readAt) if (at + againMs < now) this.#readAt.delete(vmId);
  }

  async #work(signal: AbortSignal): Promise<never> {
    await this.#readAll(signal);
    this.#sink.up();
    for (let next = Math.min(this.#timing.settleMs, this.#timing.reconcileMs), at = this.#clock.monotonic() + next; ;) {
      const wakeAt = Math.min(at, ...this.#later.values());
      await this.#nudge.wait(this.#clock, Math.max(0, wakeAt - this.#clock.monotonic()), signal);
      this.#askDue();
      const due = this.#clock.monotonic() >= at;
      if (due || this.#askAll) await this.#readAll(signal);
      await this.#readAsked(signal);
      if (this.#askPools) await this.#readPools(signal);
      if (!due) continue;
      next = this.#timing.reconcileMs;
      at = this.#clock.monotonic() + next;
    }
  }

  async #readAll(signal: AbortSignal): Promise<void> {
    this.#askAll = false;
    const [facts] = await Promise.all([this.#question(signal, (signal) => this.host.facts({ signal })), this.#readVms(signal)]);
    if (!isDeepStrictEqual(facts, this.#read.facts)) this.#sink.facts(facts);
    this.#read.facts = facts;
    await this.#readPools(signal);
  }

  async #readVms(signal: AbortSignal): Promise<void> {
    const askedAt = this.#clock.monotonic();
    const answered = [...this.#ask].filter(([, asked]) => asked === undefined).map(([id]) => id);
    for (const id of answered) this.#ask.delete(id);
    this.#later.clear();
    this.#sink.vms(await this.#question(signal, (signal) => this.host.listVms({ signal })), askedAt);
  }

  async #readAsked(signal: AbortSignal): Promise<void> {
    if (this.#ask.size > MANY) await this.#readVms(signal);
    for (let next = this.#ask.entries().next(); !next.done; next = this.#ask.entries().next()) {
      const [id, asked] = next.value;
      this.#ask.delete(id);
      try {
        const facts = await this.#readVm(id, signal);
        asked?.resolve(facts);
      } catch (error) {
        asked?.reject(toError(error));
        if (signal.aborted || !(error instanceof EngineError) || error.kind !== "hypervisor") throw error;
        this.#log.warn({ vmId: id }, `VM ${id} could not be read: ${describeError(error)}`);
      }
    }
  }

  async #readVm(id: string, signal: AbortSignal): Promise<VmFacts | undefined> {
    const askedAt = this.#clock.monotonic();
    this.#later.delete(id);
    this.#readAt.set(id, askedAt);
    const facts = await this.#question(signal, (signal) => this.host.vm(id, { signal })).catch((error: unknown) => {
      if (error instanceof EngineError && error.kind === "not-found") return undefined;
      throw error;
    });
    this.#sink.vm(id, facts, askedAt);
    return facts;
  }

  /** A host whose storage cannot be read is a host all the same. */
  async #readPools(signal: AbortSignal): Promise<void> {
    this.#askPools = false;
    try {
      const pools = await this.#question(signal, (signal) => this.host.pools({ signal }));
      if (!isDeepStrictEqual(pools, this.#read.pools)) this.#sink.pools(pools);
      this.#read.pools = pools;
    } catch (error) {
      if (signal.aborted || !(error instanceof EngineError) || error.kind !== "hypervisor") throw error;
      this.#log.warn({}, `storage pools could not be read: ${describeError(error)}`);
    }
  }

  /** An answer that comes after the deadline or the end of the connection is dropped. */
  async #question<T>(signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = (): Error => new EngineError("host-lost", `no answer within ${this.#timing.readMs / 1000} s`);
    return await withDeadline(this.#timing.readMs, late, signal, (signal) => raceAbort(ask(signal), signal));
  }
}
