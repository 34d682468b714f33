import { BoundedQueue } from "@godwit/core";
import {
  type Collection,
  EngineError,
  type HostEvent,
  type HostFacts,
  type HostRecord,
  type HypervisorHost,
  type PoolFacts,
  type VmFacts,
} from "../../src/index.ts";

export function vmFacts(id: string, changes: Partial<VmFacts> = {}): VmFacts {
  return {
    id,
    name: `vm-${id}`,
    state: "off",
    persistent: true,
    autostart: false,
    vcpus: 1,
    memoryBytes: 1 << 28,
    cpu: { mode: "default" },
    domainType: "qemu",
    agent: "none",
    disks: [],
    nics: [],
    ...changes,
  };
}

const facts = (uuid: string): HostFacts => ({
  hostname: uuid,
  uuid,
  cpu: { arch: "x86_64", features: [], count: 1, sockets: 1, cores: 1, threads: 1 },
  memoryBytes: 1 << 30,
  versions: { libvirt: "9.0.0" },
  capabilities: { machines: [], domainTypes: ["qemu"], migrationTransports: [], live: true },
  acceleration: { kind: "tcg", evidence: "claimed", text: "" },
});

/** A machine that does exactly what a test says. Connections to it can be refused, cut, or made to hang. */
export class ScriptedMachine {
  readonly uuid: string;
  readonly vms = new Map<string, VmFacts>();
  pools: PoolFacts[] = [];
  connections = 0;
  open = 0;
  lists = 0;
  /** Set: opening fails with it. */
  refuse: Error | undefined;
  /** Called before each answer; a test may wait or throw in it. */
  before: (question: string) => Promise<void> | void = () => undefined;
  readonly #live = new Set<ScriptedHost>();

  constructor(uuid: string, ...vms: readonly VmFacts[]) {
    this.uuid = uuid;
    for (const vm of vms) this.vms.set(vm.id, vm);
  }

  async connect(signal: AbortSignal): Promise<HypervisorHost> {
    this.connections += 1;
    await this.before("connect");
    signal.throwIfAborted();
    if (this.refuse) throw this.refuse;
    const host = new ScriptedHost(this, () => this.#live.delete(host));
    this.#live.add(host);
    this.open += 1;
    return host;
  }

  /** Changes a VM and tells, as a hypervisor does. */
  put(vm: VmFacts): void {
    this.vms.set(vm.id, vm);
    this.tell({ kind: "vm-changed", vmId: vm.id });
  }

  delete(vmId: string): void {
    this.vms.delete(vmId);
    this.tell({ kind: "vm-removed", vmId });
  }

  tell(event: HostEvent): void {
    for (const host of this.#live) host.queue.push(event);
  }

  /** Ends every connection, as a killed daemon does. */
  cut(reason: string): void {
    for (const host of this.#live) host.end(new EngineError("host-lost", reason));
  }

  facts(): HostFacts {
    return facts(this.uuid);
  }
}

class ScriptedHost implements HypervisorHost {
  readonly uuid: string;
  readonly closed: Promise<Error | undefined>;
  readonly queue = new BoundedQueue<HostEvent>(64);
  readonly #machine: ScriptedMachine;
  readonly #gone: () => void;
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #ended = false;

  constructor(machine: ScriptedMachine, gone: () => void) {
    this.#machine = machine;
    this.uuid = machine.uuid;
    this.closed = this.#closed.promise;
    this.#gone = gone;
  }

  end(reason: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#machine.open -= 1;
    this.#gone();
    this.#closed.resolve(reason);
    this.queue.end();
  }

  async facts(): Promise<HostFacts> {
    await this.#answer("facts");
    return this.#machine.facts();
  }

  async listVms(): Promise<VmFacts[]> {
    this.#machine.lists += 1;
    const now = [...this.#machine.vms.values()];
    await this.#answer("listVms");
    return now;
  }

  async vm(id: string): Promise<VmFacts> {
    const now = this.#machine.vms.get(id);
    await this.#answer(`vm ${id}`);
    if (!now) throw new EngineError("not-found", `no VM ${id}`);
    return now;
  }

  async pools(): Promise<PoolFacts[]> {
    await this.#answer("pools");
    return this.#machine.pools;
  }

  async *events({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<HostEvent> {
    const onAbort = (): void => this.queue.end();
    signal.addEventListener("abort", onAbort, { once: true });
    for await (const next of this.queue) yield next.kind === "item" ? next.item : { kind: "overflow" };
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  shutdown(): Promise<void> {
    return Promise.resolve();
  }

  turnOff(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.end(undefined);
    return Promise.resolve();
  }

  async #answer(question: string): Promise<void> {
    await this.#machine.before(question);
  }
}

/** A store in memory; `fail` makes the next write fail. */
export class MemoryHosts implements Collection<HostRecord> {
  readonly records = new Map<string, HostRecord>();
  fail: Error | undefined;

  constructor(...records: readonly HostRecord[]) {
    for (const record of records) this.records.set(record.id, record);
  }

  get(id: string): Promise<HostRecord | undefined> {
    return Promise.resolve(this.records.get(id));
  }

  list(): Promise<HostRecord[]> {
    return Promise.resolve([...this.records.values()]);
  }

  put(id: string, value: HostRecord): Promise<void> {
    if (this.fail) return Promise.reject(this.fail);
    this.records.set(id, value);
    return Promise.resolve();
  }

  delete(id: string): Promise<void> {
    if (this.fail) return Promise.reject(this.fail);
    this.records.delete(id);
    return Promise.resolve();
  }
}
