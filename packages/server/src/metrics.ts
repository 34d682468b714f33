import type { JobRecord } from "@godwit/engine";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Services } from "./services.ts";

const hostStates = ["connecting", "up", "lost"] as const;
const vmStates = ["running", "paused", "shutting-down", "off", "crashed", "suspended", "blocked", "unknown"] as const;

/** What Prometheus may know. Gauges are read when it asks; nothing is counted twice for many VMs. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #jobsEnded: Counter<"kind" | "state">;
  readonly #jobSeconds: Histogram<"kind" | "state">;
  readonly #migratedBytes: Counter<"what">;
  readonly #pauseSeconds: Histogram;

  constructor(services: Services) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 100 });
    gaugeOf(this.#registry, { name: "godwit_hosts", help: "Hosts by state", label: "state", values: hostStates }, () =>
      services.inventory.hosts().map(({ state }) => state),
    );
    gaugeOf(this.#registry, { name: "godwit_vms", help: "VMs by state", label: "state", values: vmStates }, () =>
      services.inventory.vms().map(({ state }) => state),
    );
    unfinishedGauge(this.#registry, services);
    this.#jobsEnded = new Counter({ name: "godwit_jobs_ended_total", help: "Jobs that ended", labelNames: ["kind", "state"], registers });
    this.#jobSeconds = new Histogram({
      name: "godwit_job_duration_seconds",
      help: "From a job's start to its end",
      labelNames: ["kind", "state"],
      buckets: [0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14_400],
      registers,
    });
    this.#migratedBytes = new Counter({
      name: "godwit_migrated_bytes_total",
      help: "Bytes that finished migrations moved",
      labelNames: ["what"],
      registers,
    });
    this.#pauseSeconds = new Histogram({
      name: "godwit_migration_pause_seconds",
      help: "How long a guest stood still in a finished migration",
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10],
      registers,
    });
  }

  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  /** Counts jobs that end, until `signal` fires. */
  async run({ jobs }: Services, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    for await (const job of jobs.watchAll({ signal })) this.#count(job);
  }

  #count({ kind, state, startedAt, endedAt, result }: JobRecord): void {
    if (endedAt === undefined) return;
    this.#jobsEnded.inc({ kind, state });
    if (startedAt !== undefined) this.#jobSeconds.observe({ kind, state }, Math.max(0, Date.parse(endedAt) - Date.parse(startedAt)) / 1000);
    if (kind !== "vm.migrate" || state !== "done") return;
    const { memoryBytes, diskBytes, pauseMs } = (result ?? {}) as { memoryBytes?: number; diskBytes?: number; pauseMs?: number };
    this.#migratedBytes.inc({ what: "memory" }, memoryBytes ?? 0);
    this.#migratedBytes.inc({ what: "disk" }, diskBytes ?? 0);
    if (pauseMs !== undefined) this.#pauseSeconds.observe(pauseMs / 1000);
  }
}

interface StateGauge {
  readonly name: string;
  readonly help: string;
  readonly label: string;
  /** Shown as 0 when nothing is in it. */
  readonly values: readonly string[];
}

function gaugeOf(registry: Registry, { name, help, label, values }: StateGauge, look: () => readonly string[]): void {
  const gauge = new Gauge({
    name,
    help,
    labelNames: [label],
    registers: [],
    collect() {
      this.reset();
      for (const value of values) this.set({ [label]: value }, 0);
      for (const value of look()) this.inc({ [label]: value });
    },
  });
  registry.registerMetric(gauge);
}

function unfinishedGauge(registry: Registry, { jobs }: Services): void {
  const gauge = new Gauge({
    name: "godwit_jobs",
    help: "Unfinished jobs by kind and state",
    labelNames: ["kind", "state"],
    registers: [],
    collect() {
      this.reset();
      for (const { kind, state } of jobs.unfinished()) this.inc({ kind, state });
    },
  });
  registry.registerMetric(gauge);
}
