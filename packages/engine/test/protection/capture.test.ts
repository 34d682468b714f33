import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { systemClock } from "@godwit/core";
import { LocalStore, Vault } from "@godwit/vault";
import {
  type CaptureDone,
  captureJob,
  Captures,
  EngineError,
  type ExportRoute,
  type HypervisorHost,
  type JobRecord,
  JobRunner,
  sshOnly,
  type TrackingRecord,
  type UsableRoute,
  VmBusyError,
  type VmView,
  type WaitingMove,
} from "../../src/index.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { soleVault } from "./sole-vault.ts";
import { JobMemory, MemoryJobStore } from "../jobs/memory-store.ts";
import { chunkBytes, ScriptedGuest } from "./scripted-guest.ts";

const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };
const signal = AbortSignal.timeout(120_000);
const input = { vmId: "v1", vm: "web", vaultId: "", vault: "main", onMigration: "park", atLeast: "crash" } as const;
let folder = "";
let count = 0;

function route(kind: ExportRoute["kind"]): UsableRoute {
  const view = { kind, reason: { code: kind, text: `by ${kind}` } };
  return { view, route: kind === "ssh" ? { kind } : { kind, address: "10.0.0.1", firstPort: 1, lastPort: 2 } };
}

/** A guest, a vault, and what a server keeps about them. */
class World {
  readonly guest = new ScriptedGuest();
  readonly tracking = new Map<string, TrackingRecord>();
  readonly submitted: unknown[] = [];
  move: WaitingMove | undefined;
  /** Told of the job whenever it changes. */
  onJob: (job: JobRecord) => void = () => undefined;
  routes: UsableRoute[] = [route("ssh")];
  readonly vault: Vault;
  readonly captures: Captures;

  private constructor(vault: Vault) {
    this.vault = vault;
    const vaults = soleVault(vault);
    const vm = { id: "v1", name: "web", hostId: "h1", host: "alpha", state: "running" } as VmView;
    const { tracking } = this;
    this.captures = new Captures({
      hosts: {
        vm: () => vm,
        host: () => assert.fail(),
        hypervisor: () => ({}) as HypervisorHost,
        shell: () => ({ run: () => assert.fail(), [Symbol.asyncDispose]: () => Promise.resolve() }),
      },
      vaults,
      tracking: {
        get: async (id) => tracking.get(id),
        list: async () => [...tracking.values()],
        put: async (id, value) => void tracking.set(id, value),
        delete: async (id) => void tracking.delete(id),
      },
      open: () => this.guest.backup(),
      traffic: { ...sshOnly, routes: async () => this.routes },
      moveWaiting: () => this.move,
      submit: async (wanted) => `after-${this.submitted.push(wanted)}`,
      clock: systemClock,
    });
  }

  static async make(): Promise<World> {
    count += 1;
    const store = await LocalStore.open(join(folder, `vault-${count}`), { signal, create: true });
    const secret = { kind: "passphrase", passphrase: "x" } as const;
    return new World(await Vault.init(store, { secret, label: "test", cost, grid: chunkBytes, signal, tuning: { threads: 0 } }));
  }

  get input(): typeof input {
    return { ...input, vaultId: this.vault.id as "" };
  }

  async run(change: object = {}): Promise<JobRecord> {
    const kind = captureJob(this.captures);
    const log = { info: () => undefined, warn: () => undefined };
    const store = new MemoryJobStore(new JobMemory());
    await using runner = new JobRunner({ store, clock: systemClock, owner: "one", kinds: [kind], log });
    await runner.start();
    const { id } = await runner.submit("vm.capture", { ...this.input, ...change });
    for await (const job of runner.watch(id, { signal })) {
      this.onJob(job);
      if (["done", "failed", "cancelled"].includes(job.state)) return job;
    }
    return await runner.get(id);
  }

  async capture(): Promise<CaptureDone> {
    const job = await this.run();
    assert.equal(job.state, "done", job.error?.message);
    return job.result as CaptureDone;
  }

  async content(pointId: string): Promise<Uint8Array> {
    const point = await this.vault.point(pointId, { signal });
    await using disk = await this.vault.openDisk(point, "vda", { signal });
    const bytes = new Uint8Array(disk.size);
    await disk.read(0, bytes, { signal });
    return bytes;
  }

  /** Every point shows exactly a moment that was; no export, no frozen guest, no second checkpoint of ours; others' are there. */
  async verify(): Promise<void> {
    assert.equal(this.guest.exported, undefined, "an export is left");
    assert.equal(this.guest.frozen, false);
    assert.ok(this.guest.checkpoints.has("someone-else"));
    const ours = [...this.guest.checkpoints.keys()].filter((name) => name.startsWith("godwit-"));
    assert.ok(ours.length <= 1, ours.join(", "));
    const moments = [...this.guest.moments.values()].map((bytes) => Buffer.from(bytes).toString("base64"));
    for (const { id } of (await this.vault.points({ signal })).points) {
      assert.ok(moments.includes(Buffer.from(await this.content(id)).toString("base64")), `point ${id} shows no moment that was`);
    }
  }
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "godwit-capture-"));
});
after(async () => rm(folder, { recursive: true }));

jobKindContract("vm.capture", {
  async setup() {
    const world = await World.make();
    await world.capture();
    for (let n = 0; n < 3; n += 1) world.guest.write();
    return {
      kind: captureJob(world.captures),
      input: world.input,
      async verify() {
        await world.verify();
        world.guest.write();
        const next = await world.capture();
        assert.notEqual(next.disks[0]?.mode, "full");
        await world.verify();
      },
    };
  },
  deadlineMs: 20_000,
});

describe("a capture", () => {
  it("takes one of as many places of its host as its groups allow now", async () => {
    const world = await World.make();
    const perHost = async (captures: Captures): Promise<unknown> =>
      await captureJob(captures)
        .slots(world.input)
        .find(({ name }) => name.startsWith("captures:"))
        ?.limit();
    assert.equal(await perHost(world.captures), 2);
    assert.equal(await perHost(new Captures({ ...world.captures.options, perHost: async () => 5 })), 5);
  });

  it("fails as a job, and does not end its server, when exports cannot be opened while the guest's writes are asked for", async () => {
    const world = await World.make();
    Object.assign(world.guest, { failOpen: new EngineError("hypervisor", "its process is gone"), statsMs: 50 });
    const job = await world.run();
    assert.deepEqual([job.state, job.error?.message], ["failed", "its process is gone"]);
    await world.verify();
  });

  it("reads all of a disk once, then only what changed", async () => {
    const world = await World.make();
    const first = await world.capture();
    assert.deepEqual([first.disks[0]?.mode, first.consistency], ["full", "filesystem"]);
    world.guest.write();
    const second = await world.capture();
    assert.equal(second.disks[0]?.mode, "incremental");
    assert.equal(second.readBytes, 2 * chunkBytes);
    await world.verify();
  });

  it("goes on by the next way when one breaks in the middle, with another moment and nothing left of the first", async () => {
    const world = await World.make();
    await world.capture();
    for (let n = 0; n < 8; n += 1) world.guest.write();
    world.routes = [route("tls"), route("tcp")];
    world.guest.broken = "tls";
    const job = await world.run();
    const done = job.result as CaptureDone;
    assert.equal(job.state, "done", job.error?.message);
    assert.deepEqual([done.route.kind, done.disks[0]?.mode], ["tcp", "incremental"]);
    const lost = job.reasons.find(({ code }) => code === "route-lost");
    assert.equal(lost?.text, "by tls: the cable was pulled; another moment is taken, by tcp");
    const point = await world.vault.point(done.pointId, { signal });
    assert.ok(point.reasons.includes("read by tcp"), point.reasons.join("; "));
    await world.verify();
  });

  it("fails with the reason when the last way breaks, or the VM ended with it", async () => {
    const world = await World.make();
    world.routes = [route("tcp")];
    world.guest.broken = "tcp";
    assert.match((await world.run()).error?.message ?? "", /web could not be read by tcp: the cable was pulled/);
    await world.verify();
    world.routes = [route("tcp"), route("ssh")];
    world.guest.onBreak = () => {
      world.guest.crash();
      world.guest.state = "off";
    };
    assert.match((await world.run()).error?.message ?? "", /web could not be read by tcp/);
    await world.verify();
  });

  it("puts its checkpoint back where a move made the hypervisor forget it", async () => {
    const world = await World.make();
    await world.capture();
    world.guest.arriveElsewhere();
    world.guest.checkpoints.set("someone-else", new Set());
    const next = await world.capture();
    assert.equal(next.disks[0]?.mode, "incremental");
    await world.verify();
  });

  it("has it put back right after the move, and waits for that", async () => {
    const world = await World.make();
    await world.capture();
    world.guest.arriveElsewhere();
    const putting = world.captures.follower.moved("v1", { signal });
    const job = await world.run();
    await putting;
    assert.deepEqual(
      job.reasons.filter(({ code }) => code === "checkpoint-restored"),
      [],
    );
    assert.deepEqual((job.result as CaptureDone).disks[0]?.mode, "incremental");
  });

  it("reads and compares after a crash, and stores only what is new", async () => {
    const world = await World.make();
    await world.capture();
    world.guest.crash();
    world.guest.checkpoints.set("someone-else", new Set());
    const next = await world.capture();
    assert.deepEqual([next.disks[0]?.mode, next.newChunks], ["compared", 1]);
    assert.equal((await world.capture()).disks[0]?.mode, "incremental");
    await world.verify();
  });

  it("finds base and checkpoint in the vault when the server lost its store", async () => {
    const world = await World.make();
    await world.capture();
    world.tracking.clear();
    assert.equal((await world.capture()).disks[0]?.mode, "incremental");
    await world.verify();
  });

  it("ends what a server that is gone for good left behind", async () => {
    const world = await World.make();
    await world.capture();
    const ours = `godwit-${world.vault.id.slice(0, 8)}-lost`;
    world.guest.exported = "lost";
    world.guest.checkpoints.set(ours, new Set());
    const job = await world.run();
    assert.equal(job.state, "done", job.error?.message);
    assert.deepEqual(
      job.reasons.map(({ code }) => code).filter((code) => code === "leftover" || code === "stray-checkpoint"),
      ["leftover", "stray-checkpoint"],
    );
    await world.verify();
  });

  it("finds and repairs, when it is told to check, what no list of changes named", async () => {
    const world = await World.make();
    await world.capture();
    world.guest.write();
    world.guest.disk.fill(77, 15 * chunkBytes); // behind the hypervisor's back
    const job = await world.run({ check: true });
    const result = job.result as CaptureDone;
    assert.deepEqual(
      [result.disks[0]?.mode, result.check],
      ["compared", [{ target: "vda", differingBytes: 3 * chunkBytes, unexpectedBytes: chunkBytes }]],
    );
    assert.ok(job.reasons.some(({ code, text }) => code === "check-repaired" && text.includes(`${chunkBytes} bytes differ`)));
    await world.verify();
    const again = (await world.run({ check: true })).result as CaptureDone;
    assert.equal(again.check?.[0]?.unexpectedBytes, 0);
    assert.equal((await world.capture()).disks[0]?.mode, "incremental");
    await world.verify();
  });

  it("is parked for a move that waits: it undoes itself and leaves its work to a new job, once", async () => {
    const world = await World.make();
    world.move = { id: "m1", title: "migrate web" };
    const job = await world.run();
    assert.equal(job.state, "done", job.error?.message);
    assert.deepEqual((job.result as { outcome: string; continuedBy: string }).continuedBy, "after-1");
    assert.deepEqual(world.submitted, [{ ...world.input, continues: job.id }]);
    await world.verify();
    assert.equal((await world.vault.points({ signal })).points.length, 0);
  });

  it("is parked for who starts or stops the VM, also where moves are told to wait", async () => {
    const world = await World.make();
    world.move = { id: "s1", title: "Turn web off", power: true };
    const job = await world.run({ onMigration: "finish" });
    assert.equal((job.result as { outcome: string }).outcome, "parked", job.error?.message);
    assert.ok(job.reasons.some(({ code, text }) => code === "parked" && /not to wait .*Turn web off.* goes on after that/.test(text)));
    await world.verify();
  });

  it("makes the move wait when either of them was told so, and says who waits", async () => {
    const world = await World.make();
    world.move = { id: "m1", title: "migrate web" };
    const told = await world.run({ onMigration: "finish" });
    world.move = { id: "m2", title: "migrate web", waits: true };
    const asked = await world.run();
    for (const [job, move] of [
      [told, "m1"],
      [asked, "m2"],
    ] as const) {
      assert.equal((job.result as { outcome: string }).outcome, "captured");
      assert.ok(job.reasons.some(({ code, text }) => code === "move-waits" && text.includes(move)));
    }
    assert.equal((await world.vault.points({ signal })).points.length, 2);
  });

  it("gives up before the guest's overwritten blocks find no room", async () => {
    const world = await World.make();
    const backup = world.guest.backup.bind(world.guest);
    world.guest.backup = () => ({ ...backup(), scratchLeft: async () => 1000 });
    const job = await world.run();
    assert.deepEqual([job.state, job.error?.kind], ["failed", "refused"]);
    assert.match(job.error?.message ?? "", /for the guest's sake/);
    await world.verify();
  });

  it("says that a freeze was broken, and fails where that is not good enough", async () => {
    const world = await World.make();
    world.guest.held = false;
    assert.equal((await world.capture()).consistency, "crash");
    const job = await world.run({ atLeast: "filesystem" });
    assert.deepEqual([job.state, job.error?.kind], ["failed", "refused"]);
    assert.equal((await world.vault.points({ signal })).points.length, 1);
    await world.verify();
  });

  it("keeps no point of a VM that was started while its images were read", async () => {
    const world = await World.make();
    world.guest.state = "off";
    const backup = world.guest.backup.bind(world.guest);
    world.guest.backup = () => ({
      ...backup(),
      scratchLeft: async () => undefined,
      machine: async () => {
        world.guest.state = "running";
        return { definition: "<domain/>", files: [] };
      },
    });
    const job = await world.run();
    assert.deepEqual([job.state, job.error?.kind], ["failed", "conflict"]);
    assert.equal((await world.vault.points({ signal })).points.length, 0);
    await world.verify();
  });

  it("tries again when the hypervisor was busy with the VM, not for ever, and leaves nothing meanwhile", async () => {
    const world = await World.make();
    world.guest.failBegin = new VmBusyError("taking the moment", {});
    const meanwhile: unknown[] = [];
    world.onJob = ({ reasons }) => {
      if (world.guest.failBegin === undefined || !reasons.some(({ code }) => code === "vm-busy")) return;
      meanwhile.push(world.guest.frozen, world.guest.exported);
      world.guest.failBegin = undefined;
    };
    const job = await world.run();
    assert.deepEqual(meanwhile, [false, undefined]);
    assert.equal(job.state, "done");
    assert.deepEqual(
      job.reasons.filter(({ code }) => code === "vm-busy").map(({ text }) => text),
      ["taking the moment: the hypervisor is busy with the VM; another try in 5 s"],
    );
    await world.verify();
  });

  it("says what of the machine no point holds", async () => {
    const world = await World.make();
    const backup = world.guest.backup.bind(world.guest);
    const text = "its TPM is the host's own: what that keeps is in no recovery point";
    const machine = { definition: "<domain><uuid>v1</uuid></domain>", files: [], leftOut: [text] };
    world.guest.backup = () => ({ ...backup(), machine: async () => machine });
    const job = await world.run();
    assert.ok(job.reasons.some((reason) => reason.code === "left-out" && reason.text === text));
    const { points } = await world.vault.points({ signal });
    assert.ok(points[0]?.reasons.includes(text));
    await world.verify();
  });

  it("leaves nothing when the hypervisor refuses", async () => {
    const world = await World.make();
    world.guest.failBegin = new EngineError("hypervisor", "taking the moment failed");
    assert.equal((await world.run()).state, "failed");
    await world.verify();
  });

  it("says why a disk that nobody can track is read whole, and stores only what is new of it", async () => {
    const world = await World.make();
    await world.capture();
    world.guest.untracked = "vda is raw";
    const next = await world.capture();
    assert.equal(next.disks[0]?.mode, "compared");
    assert.match(next.disks[0]?.reason.text ?? "", /vda is raw/);
    assert.equal(next.newChunks, 1);
  });
});
