import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "@godwit/core";
import {
  EngineError,
  type HypervisorHost,
  type JobRecord,
  JobRunner,
  type PowerHosts,
  type VmFacts,
  vmStartKind,
  vmStopKind,
  type VmView,
} from "../../src/index.ts";
import { FakeClock, settle } from "../jobs/fake-clock.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { JobMemory, MemoryJobStore } from "../jobs/memory-store.ts";

type State = VmFacts["state"];

/** One host with one VM, and a guest that may take its time. */
class World implements PowerHosts {
  state: State;
  view: VmView["state"] | undefined;
  calls: string[] = [];
  /** How many requests the guest ignores before it shuts down; it then takes one more look. */
  deaf = 0;
  persistent = true;

  constructor(state: State) {
    this.state = state;
  }

  vm(): VmView {
    const state = this.view ?? this.state;
    return { id: "v1", name: "web", hostId: "h1", host: "alpha", state, persistent: true } as VmView;
  }

  hypervisor(): HypervisorHost {
    return {
      vm: async () => {
        if (!this.persistent && this.state === "off") throw new EngineError("not-found", "no such VM");
        if (this.state === "shutting-down") this.state = "off";
        return { id: "v1", name: "web", state: this.state } as VmFacts;
      },
      start: async () => {
        this.calls.push("start");
        if (this.state === "running") throw new EngineError("hypervisor", "domain is already running");
        this.state = "running";
      },
      shutdown: async () => {
        this.calls.push("shutdown");
        if (this.deaf > 0) this.deaf -= 1;
        else this.state = "shutting-down";
      },
      turnOff: async () => {
        this.calls.push("turnOff");
        if (this.state === "off") throw new EngineError("hypervisor", "domain is not running");
        this.state = "off";
      },
    } as Partial<HypervisorHost> as HypervisorHost;
  }

  async refreshVm(): Promise<VmFacts> {
    return { id: "v1", state: this.state } as VmFacts;
  }
}

const instant: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (_, { signal } = {}) => signal?.throwIfAborted(),
};
const input = { vmId: "v1", vm: "web" };
const stop = (mode: "shutdown" | "off", timeoutSeconds = 300): typeof input & { mode: string; timeoutSeconds: number } => ({
  ...input,
  mode,
  timeoutSeconds,
});

jobKindContract("vm.start", {
  setup() {
    const world = new World("off");
    return {
      kind: vmStartKind(world),
      input,
      verify(job) {
        if (job.state === "done") assert.equal(world.state, "running");
        assert.ok(world.calls.filter((call) => call === "start").length <= 1, "started once at most");
        assert.notEqual(job.state, "failed", job.error?.message);
      },
    };
  },
});

for (const mode of ["shutdown", "off"] as const) {
  jobKindContract(`vm.stop (${mode})`, {
    setup() {
      const world = new World("running");
      return {
        kind: vmStopKind(world, instant),
        input: stop(mode),
        verify(job) {
          if (job.state === "done") assert.equal(world.state, "off");
          assert.notEqual(job.state, "failed", job.error?.message);
        },
      };
    },
  });
}

interface Rig {
  readonly runner: JobRunner;
  readonly clock: FakeClock;
  run(kind: string, input: Parameters<JobRunner["submit"]>[1]): Promise<JobRecord>;
}

async function rig(world: World): Promise<Rig> {
  const clock = new FakeClock();
  const runner = new JobRunner({
    store: new MemoryJobStore(new JobMemory()),
    clock,
    owner: "one",
    kinds: [vmStartKind(world), vmStopKind(world, clock)],
    log: { info: () => undefined, warn: () => undefined },
  });
  await runner.start();
  return {
    runner,
    clock,
    async run(kind, input) {
      const { id } = await runner.submit(kind, input);
      await clock.advance(600_000);
      return runner.get(id);
    },
  };
}

test("a VM that runs is not started again", async () => {
  const world = new World("running");
  const job = await (await rig(world)).run("vm.start", input);
  assert.deepEqual([job.error?.kind, world.calls], ["conflict", []]);
});

test("nothing is begun while the host does not answer", async () => {
  const world = new World("off");
  world.view = "unknown";
  const started = await rig(world);
  assert.equal((await started.run("vm.start", input)).error?.kind, "host-lost");
  assert.equal((await started.run("vm.stop", stop("off"))).error?.kind, "host-lost");
  assert.deepEqual(world.calls, []);
});

test("a guest that did not hear is asked again, and the job ends when it is off", async () => {
  const world = new World("running");
  world.deaf = 2;
  const job = await (await rig(world)).run("vm.stop", stop("shutdown"));
  assert.deepEqual([job.state, world.state, world.calls], ["done", "off", ["shutdown", "shutdown", "shutdown"]]);
});

test("a guest that never shuts down is left running after the timeout", async () => {
  const world = new World("running");
  world.deaf = 1000;
  const job = await (await rig(world)).run("vm.stop", stop("shutdown", 60));
  assert.deepEqual([job.state, job.error?.kind, world.state], ["failed", "timeout", "running"]);
  assert.match(job.error?.message ?? "", /within 60 s.*turn it off/);
});

test("a transient VM that is gone is off", async () => {
  const world = new World("running");
  world.persistent = false;
  assert.equal((await (await rig(world)).run("vm.stop", stop("shutdown"))).state, "done");
});

test("a VM that is off already is not an error, and a paused one says what to do", async () => {
  assert.equal((await (await rig(new World("off"))).run("vm.stop", stop("shutdown"))).state, "done");
  const paused = await (await rig(new World("paused"))).run("vm.stop", stop("shutdown"));
  assert.match(paused.error?.message ?? "", /paused.*resume it first, or turn it off/);
});

test("a cancel ends the waiting at once and says that the guest was asked", async () => {
  const world = new World("running");
  world.deaf = 1000;
  const { runner, clock } = await rig(world);
  const { id } = await runner.submit("vm.stop", stop("shutdown"));
  await clock.advance(5000);
  await runner.cancel(id);
  await settle();
  const job = await runner.get(id);
  assert.equal(job.state, "cancelled");
  assert.match(job.log.at(-1)?.text ?? "", /may still do so/);
});
