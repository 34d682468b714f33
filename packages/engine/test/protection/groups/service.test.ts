import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JsonObject } from "@godwit/core";
import { EngineError, type HostView, type JobKind, JobRunner, type VmView } from "../../../src/index.ts";
import type { GroupDraft } from "../../../src/protection/groups/draft.ts";
import type { MemberRecord, ProtectionGroup } from "../../../src/protection/groups/model.ts";
import { ProtectionGroups } from "../../../src/protection/groups/service.ts";
import { vmFacts } from "../../inventory/scripted-host.ts";
import { FakeClock, settle } from "../../jobs/fake-clock.ts";
import { JobMemory, MemoryJobStore } from "../../jobs/memory-store.ts";
import { MemoryCollection } from "../../network/support.ts";

const hour = 3_600_000;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A server's groups over real jobs, whose captures end as the test says. */
class Site implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly vms: VmView[] = [];
  readonly inputs: JsonObject[] = [];
  readonly retained: string[] = [];
  hostState: HostView["state"] = "up";
  /** Vaults that were forgotten. */
  readonly gone = new Set<string>();
  outcome: (input: JsonObject) => Promise<unknown> = () =>
    Promise.resolve({
      outcome: "captured",
      pointId: `p${this.inputs.length}`,
      readBytes: 10,
      storedBytes: 4,
      disks: [{ mode: "incremental", readBytes: 10 }],
    });
  readonly #memory = new JobMemory();
  readonly #groups = new MemoryCollection<ProtectionGroup>();
  readonly members = new MemoryCollection<MemberRecord>();
  #run = 0;
  jobs!: JobRunner;
  groups!: ProtectionGroups;

  static async open(): Promise<Site> {
    const site = new Site();
    await site.restart();
    return site;
  }

  addVm(name: string): void {
    const vm = { ...vmFacts(name, { name }), hostId: "h1", host: "alpha", lastKnownState: "running", state: "running" };
    this.vms.push({ ...vm, seenAt: "" } as VmView);
  }

  /** As after a kill -9: what is in the stores is all that is left. */
  async restart(): Promise<void> {
    await this.#stop();
    const capture: JobKind<{ readonly vm: string; readonly vmId: string }> = {
      kind: "vm.capture",
      title: ({ vm }) => `capture ${vm}`,
      subject: ({ vmId, vm }) => ({ type: "vm", id: vmId, name: vm }),
      locks: ({ vmId }) => [`vm:${vmId}`],
      slots: () => [],
      run: ({ input }) => {
        this.inputs.push(input);
        return this.outcome(input);
      },
    };
    const { clock } = this;
    this.jobs = new JobRunner({
      store: new MemoryJobStore(this.#memory),
      clock,
      owner: `run ${(this.#run += 1)}`,
      kinds: [capture],
      log: silent,
    });
    await this.jobs.start();
    this.groups = new ProtectionGroups({
      groups: this.#groups,
      members: this.members,
      hosts: { vms: () => this.vms, hosts: () => [{ id: "h1", name: "alpha", state: this.hostState } as HostView] },
      jobs: this.jobs,
      vaults: {
        find: async (ref) => {
          if (this.gone.has(ref)) throw new EngineError("not-found", `no vault '${ref}' is registered`);
          return { id: ref, name: `vault ${ref}` };
        },
      },
      clock,
      log: silent,
      retain: async (_group, { vm }) => void this.retained.push(vm),
    });
  }

  /** Looks, lets what was started end, and looks again. */
  async look(): Promise<void> {
    await this.groups.look();
    for (let turn = 0; turn < 5; turn += 1) await settle();
    await this.groups.look();
  }

  /** What runs does not let go: the grace of stopping goes by. */
  async #stop(): Promise<void> {
    const stopping = this.jobs?.stop();
    await this.clock.advance(5000);
    await stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }
}

const draft: GroupDraft = {
  name: "gold",
  vault: "v1",
  members: { names: ["web*"] },
  schedule: { cron: ["0 * * * *"], timeZone: "UTC" },
  slaHours: 4,
};

describe("protection groups", () => {
  test("capture their members at once and then by schedule, and prune after each", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create(draft);
    await site.look();
    assert.deepEqual(
      site.inputs.map(({ vm, vault, onMigration }) => [vm, vault, onMigration]),
      [["web1", "vault v1", "park"]],
    );
    await site.look();
    assert.equal(site.inputs.length, 1, "not again in this hour");
    await site.clock.advance(hour);
    await site.look();
    assert.equal(site.inputs.length, 2);
    assert.deepEqual(site.retained, ["web1", "web1"]);
    const [status] = (await site.groups.view("gold")).statuses;
    assert.deepEqual([status?.state, status?.succeeded, status?.lastPointId], ["ok", 2, "p2"]);
  });

  test("protect a new VM that matches by themselves, and list those that nobody protects", async () => {
    await using site = await Site.open();
    await site.groups.create(draft);
    await site.look();
    site.addVm("web7");
    site.addVm("mail");
    await site.look();
    assert.deepEqual(
      site.inputs.map(({ vm }) => vm),
      ["web7"],
    );
    assert.deepEqual(
      (await site.groups.uncovered()).map(({ name }) => name),
      ["mail"],
    );
  });

  test("make up once what a dead server missed, and never start one run twice", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create(draft);
    await site.look();
    await site.clock.advance(9 * hour);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    site.outcome = () => promise;
    await site.groups.look();
    await site.restart();
    await site.groups.look();
    await settle();
    const ids = (await site.jobs.list({}, { limit: 10 })).map(({ id }) => id);
    assert.equal(ids.length, 2, "the first and the one that makes up nine");
    resolve({ outcome: "captured" });
  });

  test("try again after a failure, and say that the SLA is broken when that does not help", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create({ ...draft, schedule: { cron: ["0 0 * * *"], timeZone: "UTC" } });
    site.outcome = () => Promise.reject(new Error("the vault is full"));
    await site.look();
    for (let minute = 0; minute < 60; minute += 1) {
      await site.clock.advance(60_000);
      await site.look();
    }
    assert.equal(site.inputs.length, 4, "three more tries after 5, 10 and 20 minutes");
    assert.equal((await site.groups.status())[0]?.state, "failing");
    await site.clock.advance(4 * hour);
    const [status] = await site.groups.status();
    assert.equal(status?.state, "late");
    assert.match(status?.reason.text ?? "", /the vault is full/);
  });

  test("follow a capture that was parked for a move to the job that goes on", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create(draft);
    site.outcome = async ({ continues, ...input }) => {
      if (continues !== undefined) return { outcome: "captured", pointId: "whole" };
      const next = await site.jobs.submit("vm.capture", { ...input, continues: true }, { idempotencyKey: "next" });
      return { outcome: "parked", continuedBy: next.id };
    };
    await site.look();
    await site.look();
    const [status] = await site.groups.status();
    assert.deepEqual([status?.state, status?.lastPointId, status?.succeeded], ["ok", "whole", 1]);
  });

  test("whose vault is gone say so, and keep no other group from its captures", async () => {
    await using site = await Site.open();
    for (const name of ["web1", "mail"]) site.addVm(name);
    await site.groups.create({ ...draft, name: "a", vault: "lost" });
    await site.groups.create({ ...draft, name: "b", members: { names: ["mail"] } });
    await assert.rejects(
      site.groups.needsNot({ id: "lost", name: "main" }),
      /main is needed by the protection groups a: give them another/,
    );
    await site.groups.needsNot({ id: "other", name: "other" });
    site.gone.add("lost");
    await site.look();
    assert.deepEqual(
      site.inputs.map(({ vm }) => vm),
      ["mail"],
    );
    const [lost, whole] = await site.groups.views();
    assert.match(lost?.statuses[0]?.reason.text ?? "", /^due, but no vault 'lost' is registered/);
    assert.deepEqual([lost?.vault, whole?.statuses[0]?.state], ["lost (no longer registered)", "ok"]);
  });

  test("go on saying that a VM is late when a server starts that has not seen its host yet", async () => {
    await using site = await Site.open();
    for (const name of ["web1", "web2"]) site.addVm(name);
    await site.groups.create(draft);
    await site.look();
    const [gone] = site.vms.splice(1, 1);
    await site.look();
    site.vms.length = 0;
    site.hostState = "lost";
    await site.restart();
    await site.clock.advance(5 * hour);
    await site.look();
    const stand = async (): Promise<unknown> => (await site.groups.status()).map(({ vm, state }) => [vm, state]);
    assert.deepEqual(await stand(), [["web1", "late"]], `${gone?.name} had left before`);
    site.addVm("web1");
    await site.look();
    site.vms.length = 0;
    await site.look();
    assert.deepEqual(await stand(), [], "its host said that there is none such any more, whatever others are");
    await site.restart();
    await site.look();
    assert.deepEqual(await stand(), []);
  });

  test("without a schedule keep their SLA by captures that an admin asks for", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create({ ...draft, schedule: {} });
    await site.look();
    const status = async (): Promise<unknown> => (await site.groups.status()).map(({ state, lastPointId }) => [state, lastPointId]);
    assert.match((await site.groups.status())[0]?.reason.text ?? "", /'godwit protect web1 --vault v1'/);
    await site.clock.advance(5 * hour);
    assert.deepEqual(await status(), [["late", undefined]]);
    for (const vaultId of ["another", "v1"]) {
      const { id } = await site.jobs.submit("vm.capture", { vmId: site.vms[0]!.id, vm: "web1", vaultId });
      for (let turn = 0; turn < 5; turn += 1) await settle();
      site.groups.captured(await site.jobs.get(id));
      await site.look();
      assert.deepEqual(await status(), [vaultId === "v1" ? ["ok", "p2"] : ["late", undefined]]);
    }
    assert.deepEqual(site.retained, ["web1"]);
  });

  test("forget a VM that is on no host any more after some months, and not before", async () => {
    await using site = await Site.open();
    site.addVm("web1");
    await site.groups.create(draft);
    await site.look();
    site.vms.length = 0;
    for (const [days, kept] of [
      [60, 1],
      [31, 0],
    ] as const) {
      site.clock.jump(days * 24 * hour);
      await site.look();
      assert.equal((await site.members.list()).length, kept);
    }
  });

  test("say how many captures a host may have at once, so that the queue of jobs does not allow fewer", async () => {
    await using site = await Site.open();
    assert.equal(await site.groups.perHost(), 2);
    await site.groups.create({ ...draft, limits: { perHost: 5 } });
    assert.equal(await site.groups.perHost(), 5);
    await site.groups.edit("gold", { limits: {} });
    assert.equal(await site.groups.perHost(), Infinity);
  });

  test("are refused by field when they make no sense, and changed only in what is given", async () => {
    await using site = await Site.open();
    const { id } = await site.groups.create(draft);
    await assert.rejects(site.groups.create(draft), { kind: "conflict" });
    await assert.rejects(site.groups.create({ ...draft, name: "x", members: {} }), /selects no VM: give names, tags, hosts or pools/);
    await assert.rejects(
      site.groups.create({ ...draft, name: "x", retention: { daily: 0 } }),
      /daily is a whole number of at least 1, not 0/,
    );
    await assert.rejects(site.groups.create({ ...draft, name: "x", retention: {} }), /keeps nothing/);
    await assert.rejects(site.groups.create({ ...draft, name: "x", webhook: "https://me:secret@alerts/x" }), /user name in its URL/);
    const edited = await site.groups.edit("gold", { slaHours: null, paused: true, limits: { perVault: 1 } });
    assert.deepEqual(
      [edited.id, edited.slaHours, edited.paused, edited.limits, edited.schedule.cron],
      [id, undefined, true, { perVault: 1 }, ["0 * * * *"]],
    );
    await site.groups.remove(id);
    await assert.rejects(site.groups.find("gold"), { kind: "not-found" });
  });

  test("run until they are told to stop, and look at once when nudged", async () => {
    await using site = await Site.open();
    const stop = new AbortController();
    const running = site.groups.run({ signal: stop.signal });
    await settle();
    site.addVm("web1");
    await site.groups.create(draft);
    for (let turn = 0; turn < 5; turn += 1) await settle();
    assert.equal(site.inputs.length, 1);
    await site.clock.advance(hour);
    assert.equal(site.inputs.length, 2, "woke up for the schedule by itself");
    stop.abort();
    await running;
  });
});
