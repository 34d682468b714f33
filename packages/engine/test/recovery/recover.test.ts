import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
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
  type JobRecord,
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
        this.open.add(key);
        return imageAt(path);
      },
      readImage: async (_, { path }) => imageAt(path),
      closeImages: async (key) => void this.open.delete(key),
      track: async (checkpoint) => `<domaincheckpoint><name>${checkpoint}</name></domaincheckpoint>`,
      generationId: async () => void (this.generation += 1),
      define: async (definition) => void (this.defined = definition),
      deleteImages: async (paths) => {
        for (const path of paths) this.images.delete(path);
        return [];
      },
    };
  }

  recoveries(): Recoveries {
    const vaults = soleVault(vault);
    const facts: BackupFacts = {
      vmId: "v1",
      name: "web",
      state: "off",
      disks: [{ target: "vda", capacityBytes: size, format: "qcow2", path: "/pool/old" }],
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
});
after(async () => rm(folder, { recursive: true }));

for (const mode of ["new", "replace", "in-place"] as const) {
  jobKindContract(`vm.recover, ${mode}`, {
    setup() {
      const world = new World();
      const input: RecoverInput = {
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
      return { kind: recoverJob(world.recoveries()), input, verify: (job) => world.verify(job, mode) };
    },
    deadlineMs: 20_000,
  });
}
