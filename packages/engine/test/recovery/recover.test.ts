import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BlockSink, BlockSource, Extent } from "@godwit/core";
import { LocalStore, type Point, Vault } from "@godwit/vault";
import {
  type BackupFacts,
  type Collection,
  Captures,
  EngineError,
  type HostBackup,
  type HostRecovery,
  type HypervisorHost,
  type JobContext,
  type JobRecord,
  type JobStepRecord,
  type KeptImages,
  type RecoverInput,
  Recoveries,
  recoverJob,
  type TrackingRecord,
} from "../../src/index.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { soleVault } from "../protection/sole-vault.ts";

const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };
const size = 16 * 4096;
const content = Uint8Array.from({ length: size }, (_, at) => (at >> 12) % 3);
let folder = "";
let vault: Vault;
let point: Point;
/** Of a VM with two disks. */
let pair: Point;

/** A disk in memory, to read and to write. */
class Image implements BlockSource, BlockSink {
  readonly size = size;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array = new Uint8Array(size)) {
    this.bytes = bytes;
  }
  async *extents(): AsyncGenerator<Extent> {
    yield { offset: 0, length: size, kind: "data" };
  }
  async read(offset: number, into: Uint8Array): Promise<void> {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }
  async write(offset: number, data: Uint8Array): Promise<void> {
    this.bytes.set(data, offset);
  }
  async writeZeroes(offset: number, length: number): Promise<void> {
    this.bytes.fill(0, offset, offset + length);
  }
  async flush(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

function memoryCollection<T>(): Collection<T> {
  const records = new Map<string, T>();
  return {
    get: async (id) => records.get(id),
    list: async () => [...records.values()],
    put: async (id, value) => void records.set(id, value),
    delete: async (id) => void records.delete(id),
  };
}

/** A host with images and definitions, and a VM of old. */
class World {
  readonly images = new Map<string, Image>([["/pool/old", new Image(new Uint8Array(size).fill(9))]]);
  readonly open = new Set<string>();
  readonly tracked = new Map<string, TrackingRecord>();
  readonly kept = memoryCollection<KeptImages>();
  defined: string | undefined;
  running = false;
  generation = 1;
  disks: BackupFacts["disks"] = [{ target: "vda", capacityBytes: size, format: "qcow2", path: "/pool/old" }];
  /** What fails for as long as it stands here. */
  failing: "vault" | "define" | undefined;

  recovery(): HostRecovery {
    const imageAt = (path: string): Image => this.images.get(path) ?? assert.fail(`no image ${path}`);
    return {
      defined: () => ({ id: "v1", name: "web", disks: [{ target: "vda" }] }),
      judge: async () => ({
        cpu: { fits: true, missing: [], text: "" },
        machine: { known: true, text: "" },
        nics: [],
        pools: [{ name: "pool", present: true, active: true, path: "/pool", availableBytes: 1 << 30, taken: [] }],
      }),
      adapt: (_, { disks }) => `the VM with ${disks.map(({ path }) => path).join()}`,
      createImage: async ({ name }) => {
        const path = `/pool/${name}`;
        if (!this.images.has(path)) this.images.set(path, new Image());
        return path;
      },
      openImage: async (key, { path }) => {
        assert.ok(!this.open.has(key), "somebody else may still write to it, and serves it as he was asked to");
        this.open.add(key);
        return imageAt(path);
      },
      readImage: async (_, { path }) => imageAt(path),
      closeImages: async (key) => void this.open.delete(key),
      track: async (checkpoint) => `<domaincheckpoint><name>${checkpoint}</name></domaincheckpoint>`,
      savedMemory: async () => false,
      generationId: async () => void (this.generation += 1),
      define: async (definition) => {
        if (this.failing === "define") throw new EngineError("hypervisor", "libvirt will not have it");
        this.defined = definition;
      },
      deleteImages: async (paths) => {
        for (const path of paths) this.images.delete(path);
        return [];
      },
    };
  }

  recoveries(): Recoveries {
    const sole = soleVault(vault);
    const vaults: typeof sole = {
      ...sole,
      openApart: async (...args) => {
        if (this.failing === "vault") throw new EngineError("timeout", "nobody is there");
        return await sole.openApart(...args);
      },
    };
    const facts: BackupFacts = {
      vmId: "v1",
      name: "web",
      state: "off",
      disks: this.disks,
      leftOut: [],
      agent: "none",
      checkpoints: [],
    };
    const hypervisor = {
      vm: async () => ({ state: this.running ? "running" : "off" }),
      start: async () => {
        if (this.running) throw new EngineError("hypervisor", "it runs already");
        this.running = true;
      },
    };
    const captures = new Captures({
      hosts: {
        vm: () => assert.fail(),
        host: () => assert.fail(),
        hypervisor: () => hypervisor as unknown as HypervisorHost,
        shell: () => ({ run: () => assert.fail(), [Symbol.asyncDispose]: () => Promise.resolve() }),
      },
      vaults,
      tracking: {
        get: async (id) => this.tracked.get(id),
        list: async () => [...this.tracked.values()],
        put: async (id, value) => void this.tracked.set(id, value),
        delete: async (id) => void this.tracked.delete(id),
      },
      open: () => ({ facts: async () => facts }) as unknown as HostBackup,
      moveWaiting: () => undefined,
      submit: () => assert.fail(),
    });
    return new Recoveries({ captures, open: () => this.recovery(), kept: this.kept });
  }

  /** What was recovered is the point, byte for byte, and nothing half-made is left; the old image is as it was. */
  verify(job: JobRecord, mode: RecoverInput["mode"]): void {
    assert.equal(this.open.size, 0, "an image is still open");
    const made = [...this.images.keys()].filter((path) => path !== "/pool/old");
    const old = this.images.get("/pool/old")?.bytes;
    if (mode !== "in-place")
      assert.ok(
        old?.every((byte) => byte === 9),
        "the old image was touched",
      );
    if (this.defined !== undefined)
      assert.deepEqual(
        made.map((path) => `the VM with ${path}`),
        [this.defined],
      );
    for (const path of made) assert.deepEqual(Buffer.from(this.images.get(path)?.bytes ?? []), Buffer.from(content));
    if (job.state !== "done") return;
    assert.equal(this.running, true);
    if (mode === "in-place") {
      assert.deepEqual(Buffer.from(old ?? []), Buffer.from(content));
      assert.ok(this.generation > 1, "the guest cannot notice that it was rolled back");
    }
    if (mode !== "in-place") assert.equal([...this.tracked.values()][0]?.pointId, point.id);
  }
}

before(async () => {
  const signal = AbortSignal.timeout(60_000);
  folder = await mkdtemp(join(tmpdir(), "godwit-recover-"));
  const store = await LocalStore.open(folder, { signal, create: true });
  const secret = { kind: "passphrase", passphrase: "x" } as const;
  vault = await Vault.init(store, { secret, label: "test", cost, grid: 4096, signal, tuning: { threads: 0 } });
  const machine = { definition: "<domain><uuid>v1</uuid></domain>", files: [] };
  point = await vault.put({ name: "web", disks: [{ name: "vda", source: new Image(content) }], machine }, { signal });
  const disks = ["vda", "vdb"].map((name) => ({ name, source: new Image(content) }));
  pair = await vault.put({ name: "pair", disks, machine }, { signal });
});
after(async () => rm(folder, { recursive: true }));

function inputOf(mode: RecoverInput["mode"]): RecoverInput {
  return {
    mode,
    pointId: point.id,
    vaultId: vault.id,
    vault: "main",
    captured: "web",
    hostId: "h1",
    host: "alpha",
    vmId: "v1",
    vm: "web",
    newIdentity: false,
    networks: {},
    start: true,
    ...(mode !== "in-place" && { storagePool: "pool" }),
  };
}

for (const mode of ["new", "replace", "in-place"] as const) {
  jobKindContract(`vm.recover, ${mode}`, {
    setup() {
      const world = new World();
      return { kind: recoverJob(world.recoveries()), input: inputOf(mode), verify: (job) => world.verify(job, mode) };
    },
    deadlineMs: 20_000,
  });
}

interface Attempt {
  readonly input: RecoverInput;
  readonly records?: Map<string, JobStepRecord>;
  readonly signal?: AbortSignal;
}

/** Runs an attempt that finds these records; the reasons that it gives. */
async function attempt(world: World, { input, records = new Map(), signal = new AbortController().signal }: Attempt): Promise<string[]> {
  const reasons: string[] = [];
  const put = (name: string, state: JobStepRecord["state"], output?: unknown): void =>
    void records.set(name, { name, state, startedAt: "", output });
  const context: JobContext<RecoverInput> = {
    id: "0123456789ab",
    input,
    attempt: 2,
    signal,
    stopping: new AbortController().signal,
    cancelRequested: signal.aborted,
    async step(name, body) {
      if (records.get(name)?.state === "done") return records.get(name)?.output as never;
      put(name, "running");
      const output = await body().catch((error: unknown) => {
        put(name, "failed");
        throw error;
      });
      put(name, "done", output);
      return output;
    },
    recorded: (name) => records.get(name),
    note: async (name, output) => put(name, "done", output),
    progress: () => undefined,
    reason: async ({ code }) => void reasons.push(code),
    freeSlots: () => undefined,
    log: () => undefined,
  };
  const running = recoverJob(world.recoveries()).run(context);
  await (world.failing ? assert.rejects(running) : running);
  return reasons;
}

/** What a server left that was killed while it wrote the first image. */
function leftByAnother(world: World, mode: RecoverInput["mode"]): Map<string, JobStepRecord> {
  const name = "web-vda-012345.qcow2";
  const image =
    mode === "in-place" ? { target: "vda", path: "/pool/old", format: "raw" } : { target: "vda", path: "", format: "qcow2", name };
  world.open.add("0123456789ab-vda");
  if (mode !== "in-place") world.images.set(`/pool/${name}`, new Image());
  const done = (name: string, output: unknown): [string, JobStepRecord] => [name, { name, state: "done", startedAt: "", output }];
  return new Map([done("plan", { images: [image], keptAside: [] }), done("image vda", {})]);
}

describe("a recovery that fails leaves nothing behind", () => {
  for (const mode of ["new", "in-place"] as const) {
    it(`when another server has begun it, and the vault cannot be opened any more (${mode})`, async () => {
      const world = new World();
      const records = leftByAnother(world, mode);
      world.failing = "vault";
      const reasons = await attempt(world, { input: inputOf(mode), records });
      assert.deepEqual([[...world.images.keys()], world.open.size], [["/pool/old"], 0]);
      assert.deepEqual(reasons, mode === "in-place" ? ["half-written"] : []);
    });
  }

  it("as one that goes on ends what the server before it left open", async () => {
    const world = new World();
    await attempt(world, { input: inputOf("new"), records: leftByAnother(world, "new") });
    assert.deepEqual([world.open.size, world.running], [0, true]);
  });

  it("when the hypervisor refuses the definition", async () => {
    const world = new World();
    world.failing = "define";
    await attempt(world, { input: inputOf("replace") });
    assert.deepEqual([[...world.images.keys()], world.open.size, world.defined], [["/pool/old"], 0, undefined]);
  });

  it("but what a VM may have, where a cancel came while it was being defined, and says so", async () => {
    const world = new World();
    const records = leftByAnother(world, "replace");
    records.set("define", { name: "define", state: "running", startedAt: "" });
    world.failing = "vault";
    const reasons = await attempt(world, { input: inputOf("replace"), records, signal: AbortSignal.abort() });
    assert.deepEqual([world.images.size, world.open.size, reasons], [2, 0, ["left-behind"]]);
  });
});

describe("the old images of a VM that is replaced", () => {
  const disk = (target: string) => ({ target, capacityBytes: size, format: "qcow2", path: `/pool/${target}` });
  /** What is kept aside of a VM that has these disks now. */
  async function kept(targets: readonly string[], disks?: readonly string[]): Promise<[until: string, paths: readonly string[]]> {
    const world = new World();
    world.disks = targets.map(disk);
    await attempt(world, { input: { ...inputOf("replace"), pointId: pair.id, ...(disks && { disks }) } });
    const [record] = await world.kept.list();
    return [record?.until ?? "", record?.paths ?? []];
  }

  it("are kept until it has booted", async () => {
    assert.deepEqual(await kept(["vda", "vdb"]), ["boots", ["/pool/vda", "/pool/vdb"]]);
  });

  it("are not those of disks that stay: it would never be seen to run without them", async () => {
    assert.deepEqual(await kept(["vda", "vdb"], ["vda"]), ["boots", ["/pool/vda"]]);
  });

  it("are kept until somebody says so where a disk was added since: nothing has come in its place", async () => {
    assert.deepEqual(await kept(["vda", "vdb", "vdc"]), ["confirmed", ["/pool/vda", "/pool/vdb", "/pool/vdc"]]);
  });
});
