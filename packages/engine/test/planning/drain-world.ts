import { CancelledError, type Clock, type JsonObject } from "@godwit/core";
import type { Check, Forecast, HostView, JobRecord, MigrationInput, MigrationPlan, VmView } from "../../src/index.ts";
import { type ChildJobs, Drains, EngineError, Maintenance, Placements, type PlacementSettings } from "../../src/index.ts";
import { MemoryCollection } from "../network/support.ts";

const at = "2026-01-01T00:00:00.000Z";
const reason = { code: "test", text: "as the test says" };
const gib = 2 ** 30;

/** Three hosts, some VMs, and migrations that just happen; everything that a drain sees and does. */
export class DrainWorld {
  /** By VM: where it is. */
  readonly at: Map<string, string>;
  readonly state = new Map<string, VmView["state"]>();
  /** Every migration that was really made: `web alpha>bravo`. */
  readonly moves: string[] = [];
  /** Makes a migration fail, whenever it gives an error for it. */
  fails: (input: MigrationInput) => EngineError | undefined = () => undefined;
  /** Called when a migration begins. */
  begins: (input: MigrationInput) => void | Promise<void> = () => undefined;
  /** What a preflight foretells of a move. */
  foretells: (input: MigrationInput) => Forecast | undefined = () => undefined;
  /** Why a preflight refuses a move; empty: it does not. */
  refuses: (input: MigrationInput) => readonly Check[] = () => [];
  names: readonly string[] = ["alpha", "bravo", "charlie"];
  readonly maintenance: Maintenance;
  readonly drains: Drains;
  readonly settings: MemoryCollection<PlacementSettings> = new MemoryCollection();
  readonly #jobs = new Map<string, { record: JobRecord; cancelled: AbortController; end: Promise<void> }>();

  constructor(vms: Readonly<Record<string, string>>, clock: Clock) {
    this.at = new Map(Object.entries(vms));
    this.maintenance = new Maintenance({ store: { maintenance: new MemoryCollection() }, clock });
    const placements = new Placements({
      store: { placement: this.settings },
      hosts: {
        hosts: () => this.#hosts(),
        host: (ref) => this.#host(ref),
        vms: () => this.#vms(),
        vm: (ref) => this.#vm(ref),
        pools: () => [],
      },
      networks: {
        verdicts: async () => [{ networkId: "n1", network: "migration", rank: 1, verdict: "chosen", reason }],
        interfaces: () => [],
      },
      migrations: {
        measureAhead: () => undefined,
        poolRooms: async () => new Map(),
        resolve: (wish) => ({
          ...this.#names(wish.vm),
          ...(wish.policy !== undefined && { policy: wish.policy }),
          destinationId: wish.to,
          destination: wish.to,
          peerToPeer: false,
          autoConverge: false,
        }),
        prepare: async (input) => ({
          plan: { ...input, kind: "live", copies: [], networks: [], ...this.#judged(input) },
          copies: [],
          copyPaths: [],
          sourcePaths: [],
          sharingProven: true,
          autostart: false,
        }),
      },
      maintenance: this.maintenance,
    });
    const networks = {
      refresh: async () => undefined,
      liveMigration: async () => ({ order: [], exclude: [] }),
      hostMigration: async () => ({ useAnyNetwork: true, maximumLiveMigrations: 2, maximumStorageMigrations: 2, networks: [] }),
    };
    const hypervisor = (hostId: string): never => ({ listVms: async () => this.#vms().filter((vm) => vm.hostId === hostId) }) as never;
    this.drains = new Drains({ placements, networks, hypervisor, jobs: () => this.#childJobs(), clock });
  }

  #judged(input: MigrationInput): Pick<MigrationPlan, "checks" | "possible" | "forecast"> {
    const checks = [...this.refuses(input)];
    return { checks, possible: checks.length === 0, ...this.#forecast(input) };
  }

  #forecast(input: MigrationInput): { readonly forecast?: Forecast } {
    const forecast = this.foretells(input);
    return forecast ? { forecast } : {};
  }

  #childJobs(): ChildJobs {
    const find = (id: string): JobRecord => this.#jobs.get(id)!.record;
    const jobs = this.#jobs;
    return {
      submit: async (_kind, input, { idempotencyKey }) => this.#submit(input as MigrationInput, idempotencyKey),
      get: async (id) => find(id),
      async cancel(id) {
        jobs.get(id)?.cancelled.abort(new CancelledError());
        return find(id);
      },
      async *watch(id) {
        await jobs.get(id)?.end;
        yield find(id);
      },
      list: async () => [],
    };
  }

  /** The same key gives the same job, as the runner does. */
  #submit(input: MigrationInput, id: string): JobRecord {
    const known = this.#jobs.get(id);
    if (known) return known.record;
    const record = {
      id,
      kind: "vm.migrate",
      state: "running",
      input,
      waitingFor: [],
      createdAt: at,
      subject: { type: "vm", id: input.vmId, name: input.vm },
    };
    const cancelled = new AbortController();
    const job = { record: record as unknown as JobRecord, cancelled, end: Promise.resolve() };
    this.#jobs.set(id, job);
    job.end = this.#migrate(input, cancelled.signal).then((change) => {
      job.record = { ...job.record, ...change, endedAt: at };
    });
    return job.record;
  }

  async #migrate(input: MigrationInput, signal: AbortSignal): Promise<Partial<JobRecord>> {
    await this.begins(input);
    if (signal.aborted) return { state: "cancelled", error: { kind: "cancelled", message: "cancelled on request" } };
    const error = this.fails(input);
    if (error) return { state: "failed", error: { kind: error.kind, message: error.message } };
    if (this.state.get(input.vmId) === "off") return { state: "failed", error: { kind: "refused", message: `${input.vm} is off` } };
    this.moves.push(`${input.vm} ${this.at.get(input.vmId)}>${input.destinationId}`);
    this.at.set(input.vmId, input.destinationId);
    const result = { vmId: input.vmId, network: "migration", totalMs: 100, memoryBytes: 1000, pauseMs: 5, proof: "alpha sent 1000 bytes" };
    return { state: "done", result: result as unknown as JsonObject };
  }

  #hosts(): HostView[] {
    return this.names.map((name) => this.#host(name));
  }

  #host(name: string): HostView {
    const cpu = { arch: "x86_64", features: [], count: 8, sockets: 1, cores: 8, threads: 1 };
    const facts = { cpu, memoryBytes: 16 * gib } as unknown as HostView["facts"];
    return { id: name, name, uri: "", state: "up", stateSince: at, reason, facts, vms: { total: 0, running: 0 } };
  }

  #vms(): VmView[] {
    return [...this.at.keys()].map((name) => this.#vm(name));
  }

  #vm(name: string): VmView {
    const hostId = this.at.get(name);
    if (hostId === undefined) throw new EngineError("not-found", `there is no VM ${name}`);
    const state = this.state.get(name) ?? "running";
    return {
      id: name,
      name,
      hostId,
      host: hostId,
      state,
      memoryBytes: gib,
      vcpus: 1,
      cpu: { mode: "custom" },
      domainType: "kvm",
      disks: [],
      nics: [],
    } as unknown as VmView;
  }

  #names(vm: string): Pick<MigrationInput, "vmId" | "vm" | "sourceId" | "source"> {
    const source = this.at.get(vm) ?? "";
    return { vmId: vm, vm, sourceId: source, source };
  }
}
