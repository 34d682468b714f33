import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock } from "@godwit/core";
import { EngineError, hostDrainKind, hostResumeKind, isFinal, type JobRecord, JobRunner, type MovesResult } from "../../src/index.ts";
import { noPlacementSettings } from "../../src/placement/rules.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { JobMemory, MemoryJobStore } from "../jobs/memory-store.ts";
import { DrainWorld } from "./drain-world.ts";

const three = { web: "alpha", mail: "alpha", db: "bravo" };
const drainInput = { hostId: "alpha", host: "alpha", to: [], partial: false };
const resumeInput = { hostId: "alpha", host: "alpha", failback: "now" as const };
const silent = { info: () => undefined, warn: () => undefined };

jobKindContract("host.drain", {
  setup() {
    const world = new DrainWorld(three, systemClock);
    return {
      kind: hostDrainKind(world.drains),
      input: drainInput,
      verify(job) {
        const away = ["web", "mail"].filter((vm) => world.at.get(vm) !== "alpha").sort();
        const record = world.maintenance.get("alpha");
        assert.equal(new Set(world.moves).size, world.moves.length, "no VM was moved twice");
        assert.equal(world.at.get("db"), "bravo");
        assert.notEqual(job.state, "failed", job.error?.message);
        if (job.state === "done") assert.deepEqual([record?.state, away], ["drained", ["mail", "web"]]);
        if (away.length > 0) assert.deepEqual(record?.moved.map(({ vm }) => vm).sort(), away, "what left is known");
      },
    };
  },
});

jobKindContract("host.resume", {
  async setup() {
    const world = new DrainWorld({ ...three, web: "bravo", mail: "charlie" }, systemClock);
    await world.maintenance.enter("alpha", { state: "drained", reason: { code: "drained", text: "" }, jobId: "j" });
    for (const [vm, on] of [
      ["web", "bravo"],
      ["mail", "charlie"],
    ] as const)
      await world.maintenance.noteMoved("alpha", { vmId: vm, vm, destinationId: on, destination: on, jobId: "j" });
    return {
      kind: hostResumeKind(world.drains),
      input: resumeInput,
      verify(job) {
        const back = ["web", "mail"].filter((vm) => world.at.get(vm) === "alpha");
        const known = world.maintenance.get("alpha")?.moved.map(({ vm }) => vm) ?? [];
        assert.equal(new Set(world.moves).size, world.moves.length, "no VM was moved twice");
        assert.notEqual(job.state, "failed", job.error?.message);
        if (job.state === "done") assert.deepEqual([back.length, known], [2, []]);
        else
          for (const vm of ["web", "mail"]) assert.ok(back.includes(vm) || known.includes(vm), `${vm} is back, or still known to be away`);
      },
    };
  },
});

async function run(world: DrainWorld, kind: "host.drain" | "host.resume", input: object = {}): Promise<JobRecord> {
  const kinds = [hostDrainKind(world.drains), hostResumeKind(world.drains)];
  await using runner = new JobRunner({ store: new MemoryJobStore(new JobMemory()), clock: systemClock, owner: "test", kinds, log: silent });
  await runner.start();
  const { id } = await runner.submit(kind, { ...(kind === "host.drain" ? drainInput : resumeInput), ...input });
  for await (const job of runner.watch(id, { signal: AbortSignal.timeout(20_000) })) if (isFinal(job.state)) return job;
  return await runner.get(id);
}

const outcomes = (job: JobRecord): string[] =>
  (job.result as MovesResult).moves.map(({ vm, destination, outcome }) => `${vm} ${destination} ${outcome}`).sort();

describe("a balance", () => {
  it("leaves those where they are whom no host takes, and moves others", async () => {
    const vms = Array.from({ length: 15 }, (_, at) => `vm${at}`);
    const world = new DrainWorld(Object.fromEntries(vms.map((vm) => [vm, "alpha"])), systemClock);
    world.names = ["alpha", ...Array.from({ length: 9 }, (_, at) => `other${at}`)];
    const tied = { id: "devices", verdict: "fail", text: "it uses what only alpha has", remedy: "detach it" } as const;
    world.refuses = ({ vmId }) => (vmId === "vm14" ? [] : [tied]);
    const plan = await world.drains.planBalance({ signal: AbortSignal.timeout(20_000), actAbove: 0.5 });
    assert.deepEqual(
      plan.moves.map(({ vmId }) => vmId),
      ["vm14"],
    );
  });
});

describe("the rules on a move", () => {
  it("count a VM that another job is moving there as one that is there", async () => {
    const world = new DrainWorld(three, systemClock);
    const rule = { name: "apart", vms: { names: ["web", "db"] }, keepApart: "enforce" as const };
    await world.settings.put("cluster", { ...noPlacementSettings, rules: [rule] });
    const ends = { vmId: "web", sourceId: "alpha", destinationId: "charlie" };
    const failed = async (...arriving: readonly { vmId: string; destinationId: string }[]): Promise<string[]> =>
      (await world.drains.placements.checks(ends, "live", arriving)).flatMap(({ id, verdict }) => (verdict === "fail" ? [id] : []));
    assert.deepEqual(await failed(), []);
    assert.deepEqual(await failed({ vmId: "db", destinationId: "charlie" }), ["anti-affinity"]);
    assert.deepEqual(await failed({ vmId: "db", destinationId: "alpha" }, { vmId: "mail", destinationId: "charlie" }), []);
  });

  it("let VMs come back together that a drain took away together, and nobody else", async () => {
    const world = new DrainWorld({ web: "bravo", db: "charlie", mail: "alpha" }, systemClock);
    const rule = { name: "apart", vms: { names: ["web", "db", "mail"] }, keepApart: "enforce" as const };
    const failed = async (vmId: string, sourceId: string): Promise<string[]> => {
      const checks = await world.drains.placements.checks({ vmId, sourceId, destinationId: "alpha" }, "live");
      return checks.flatMap(({ id, verdict }) => (verdict === "fail" ? [id] : []));
    };
    await world.settings.put("cluster", { ...noPlacementSettings, rules: [rule] });
    const open = { state: "open", reason: { code: "resumed", text: "" }, jobId: "j1" } as const;
    await world.maintenance.enter("alpha", { ...open, returning: ["mail", "db"] });
    assert.deepEqual(await failed("db", "charlie"), []);
    assert.deepEqual(await failed("web", "bravo"), ["anti-affinity"]);
    await world.maintenance.enter("alpha", open);
    assert.deepEqual(await failed("db", "charlie"), ["anti-affinity"]);
  });
});

describe("a drain", () => {
  it("hands on that captures shall end before their VMs move", async () => {
    const world = new DrainWorld(three, systemClock);
    const asked: unknown[] = [];
    world.begins = ({ waitForCapture }) => void asked.push(waitForCapture);
    assert.equal((await run(world, "host.drain", { waitForCapture: true })).state, "done");
    assert.deepEqual(asked, [true, true]);
  });

  it("closes the host before anything moves, and collects every move's proof", async () => {
    const world = new DrainWorld(three, systemClock);
    world.begins = () => assert.equal(world.maintenance.closed("alpha")?.code, "maintenance");
    const job = await run(world, "host.drain");
    assert.equal(job.state, "done");
    assert.deepEqual(outcomes(job), ["mail charlie moved", "web bravo moved"]);
    assert.ok(
      (job.result as MovesResult).moves.every(({ proof, network }) => proof === "alpha sent 1000 bytes" && network === "migration"),
    );
  });

  it("names what cannot move before anything does, and leaves the host as it was", async () => {
    const world = new DrainWorld(three, systemClock);
    world.state.set("mail", "paused");
    const job = await run(world, "host.drain");
    assert.equal(job.error?.kind, "refused");
    assert.deepEqual(
      job.error?.checks?.map(({ id, remedy }) => [id, remedy]),
      [["mail", "let it run on, or shut it down"]],
    );
    assert.deepEqual(world.moves, []);
    assert.equal(world.maintenance.get("alpha"), undefined);
  });

  it("names a VM that no host takes, however many hosts there are to ask", async () => {
    const world = new DrainWorld(three, systemClock);
    world.names = ["alpha", ...Array.from({ length: 63 }, (_, at) => `other${at}`)];
    world.at.delete("db");
    const tied = { id: "devices", verdict: "fail", text: "it uses what only alpha has", remedy: "detach it" } as const;
    world.refuses = ({ vmId }) => (vmId === "mail" ? [tied] : []);
    const { error } = await run(world, "host.drain");
    assert.deepEqual([error?.kind, error?.checks?.map(({ id }) => id)], ["refused", ["mail"]]);
  });

  it("leaves a host closed that was in maintenance before, when it is refused", async () => {
    const world = new DrainWorld({ db: "bravo" }, systemClock);
    assert.equal((await run(world, "host.drain")).state, "done");
    world.at.set("web", "alpha");
    world.state.set("web", "paused");
    assert.equal((await run(world, "host.drain")).error?.kind, "refused");
    assert.equal(world.maintenance.get("alpha")?.state, "drained");
    assert.equal(world.maintenance.closed("alpha")?.code, "maintenance");
  });

  it("knows of a VM that it has left although its move failed at the end, so that a resume brings it back", async () => {
    const world = new DrainWorld(three, systemClock);
    world.fails = ({ vmId, destinationId }) => {
      if (vmId !== "web") return undefined;
      world.at.set(vmId, destinationId);
      return new EngineError("host-lost", "gave up asking the source");
    };
    const job = await run(world, "host.drain");
    assert.equal(job.state, "done", job.error?.message);
    assert.deepEqual(
      world.maintenance
        .get("alpha")
        ?.moved.map(({ vm }) => vm)
        .sort(),
      ["mail", "web"],
    );
    assert.match((job.result as MovesResult).left[0]?.reason ?? "", /it runs on bravo, though its move did not end well: gave up asking/);
    world.fails = () => undefined;
    assert.equal((await run(world, "host.resume")).state, "done");
    assert.equal(world.at.get("web"), "alpha");
  });

  it("moves what can move when it may be partial, and says that the host is not empty", async () => {
    const world = new DrainWorld(three, systemClock);
    world.state.set("mail", "paused");
    const job = await run(world, "host.drain", { partial: true });
    assert.match(job.error?.message ?? "", /1 VMs still run on alpha: mail/);
    assert.equal(world.moves.length, 1);
    assert.equal(world.maintenance.get("alpha")?.state, "incomplete");
  });

  it("plans a VM anew, without the host where its move failed", async () => {
    const world = new DrainWorld(three, systemClock);
    world.fails = ({ destinationId }) => (destinationId === "charlie" ? new EngineError("hypervisor", "no memory") : undefined);
    const job = await run(world, "host.drain");
    assert.equal(job.state, "done", job.error?.message);
    assert.deepEqual(world.moves.sort(), ["mail alpha>bravo", "web alpha>bravo"]);
  });

  it("moves nobody who would be given up: goes where the guest converges, or says what a rule could allow", async () => {
    const world = new DrainWorld(three, systemClock);
    const options = [
      { option: "raise-pause" as const, pauseMs: 900, totalMs: 2000, text: "" },
      { option: "suspend-at-last" as const, pauseMs: 900, totalMs: 2000, text: "" },
    ];
    const figures = { totalMs: 2000, overheadMs: 500, pauseMs: 900, bytes: 1e9, rounds: 50, bandwidthBytesPerSecond: 1e8, reasons: [] };
    const slow = { ...figures, converges: false, text: "cannot be done within a pause of 300 ms", options };
    const fast = { ...figures, converges: true, text: "about 2 s", options: [] };
    world.foretells = ({ vm, destinationId }) => (vm === "web" && destinationId !== "charlie" ? slow : fast);
    const { entries } = await world.drains.plan("alpha", { signal: AbortSignal.timeout(20_000) });
    assert.deepEqual(entries.map(({ vm, destination }) => `${vm} ${destination}`).sort(), ["mail charlie", "web charlie"]);
    world.foretells = ({ vm }) => (vm === "web" ? slow : fast);
    const job = await run(world, "host.drain");
    assert.equal(job.error?.kind, "refused");
    assert.match(job.error?.checks?.[0]?.remedy ?? "", /say so in a rule for it: maximumPauseMs: 900, or pausePolicy: suspend-at-last/);
    assert.deepEqual(world.moves, []);
    const rules = [{ name: "web", vms: { names: ["web"] }, pausePolicy: "suspend-at-last" as const }];
    await world.settings.put("cluster", { sites: {}, tags: [], rules, profiles: [] });
    const { moves } = (await run(world, "host.drain")).result as MovesResult;
    assert.match(moves.find(({ vm }) => vm === "web")?.why ?? "", /too fast for its pause \(suspend-at-last\): cannot be done within/);
  });

  it("ends when every host failed, with the last reason for each VM", async () => {
    const world = new DrainWorld(three, systemClock);
    world.fails = ({ vm }) => (vm === "web" ? new EngineError("hypervisor", "it does not converge") : undefined);
    const job = await run(world, "host.drain");
    assert.equal(job.state, "failed");
    assert.deepEqual(
      job.error?.checks?.map(({ id, text }) => [id, text]),
      [["web", "it does not converge"]],
    );
    assert.deepEqual(
      world.maintenance.get("alpha")?.moved.map(({ vm }) => vm),
      ["mail"],
    );
  });

  it("takes VMs that came to the host in between as well, and is content with one that was shut down", async () => {
    const world = new DrainWorld(three, systemClock);
    world.begins = ({ vm }) => {
      world.at.set("late", world.at.get("late") ?? "alpha");
      if (vm === "web") world.state.set("web", "off");
    };
    const job = await run(world, "host.drain");
    assert.equal(job.state, "done", job.error?.message);
    assert.notEqual(world.at.get("late"), "alpha");
    assert.match(JSON.stringify((job.result as MovesResult).left), /web.*does not run here any more.*web is off/);
  });
});

describe("a resume", () => {
  it("brings back exactly what was moved, from wherever it is now, and says what it leaves", async () => {
    const world = new DrainWorld({ ...three, fax: "alpha" }, systemClock);
    await run(world, "host.drain");
    world.at.set("web", "bravo");
    world.state.set("fax", "off");
    const job = await run(world, "host.resume");
    assert.deepEqual(outcomes(job), ["mail alpha moved", "web alpha moved"]);
    assert.deepEqual((job.result as MovesResult).left, [{ vm: "fax", reason: "it is off" }]);
    assert.equal(world.maintenance.get("alpha"), undefined);
  });

  it("waits for what nobody knows of: it stays known, and is named", async () => {
    const world = new DrainWorld(three, systemClock);
    await run(world, "host.drain");
    world.state.set("web", "unknown");
    const job = await run(world, "host.resume");
    assert.match(JSON.stringify(job.error?.checks), /web.*nobody knows how it is: bravo, where it was, does not answer/);
    assert.deepEqual(
      world.maintenance.get("alpha")?.moved.map(({ vm }) => vm),
      ["web"],
    );
    world.state.set("web", "running");
    assert.deepEqual(outcomes(await run(world, "host.resume")), ["web alpha moved"]);
  });

  it("with policy brings back what the rules want there, with none nothing; the host is open either way", async () => {
    const world = new DrainWorld(three, systemClock);
    const rules = [
      { name: "home", vms: { names: ["web"] }, preferredHosts: ["alpha"] },
      { name: "away", vms: { names: ["mail"] }, preferredHosts: ["bravo", "charlie"] },
    ];
    await world.settings.put("cluster", { sites: {}, tags: [], rules, profiles: [] });
    await run(world, "host.drain");
    assert.deepEqual(outcomes(await run(world, "host.resume", { failback: "policy" })), ["web alpha moved"]);
    await run(world, "host.drain");
    const none = await run(world, "host.resume", { failback: "none" });
    assert.deepEqual([outcomes(none), world.maintenance.closed("alpha")], [[], undefined]);
  });

  it("keeps what did not come back for the next time", async () => {
    const world = new DrainWorld(three, systemClock);
    await run(world, "host.drain");
    world.fails = ({ vm }) => (vm === "web" ? new EngineError("hypervisor", "busy") : undefined);
    const job = await run(world, "host.resume");
    assert.match(job.error?.message ?? "", /takes VMs again, but 1 did not come back: web/);
    assert.deepEqual([world.maintenance.closed("alpha"), world.maintenance.get("alpha")?.moved.map(({ vm }) => vm)], [undefined, ["web"]]);
    world.fails = () => undefined;
    assert.deepEqual(outcomes(await run(world, "host.resume")), ["web alpha moved"]);
  });
});
