import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { LocalStore, type Point, Vault } from "@godwit/vault";
import {
  Captures,
  filesCaptureJob,
  type FilesCaptured,
  filesRecoverJob,
  GuestFiles,
  type HostBackup,
  type HostGuestFiles,
  type HypervisorHost,
  type JobContext,
  type VmView,
} from "../../src/index.ts";
import { jobKindContract } from "../jobs/job-kind-contract.ts";
import { soleVault } from "./sole-vault.ts";

const signal = AbortSignal.timeout(60_000);
const archive = Uint8Array.from({ length: 40 * 512 }, (_, at) => (at * 7) % 251);
let folder = "";
let vault: Vault;
let point: Point;
let count = 0;

/** A guest with files, and a folder of the server's. */
class World {
  readonly spoolDir = join(folder, `spool-${(count += 1)}`);
  plugged = false;
  state = "running";
  unpacked: Buffer | undefined;

  files(): GuestFiles {
    const vaults = soleVault(vault);
    const vm = { id: "v1", name: "web", hostId: "h1", host: "alpha", state: "running" } as VmView;
    const captures = new Captures({
      hosts: {
        vm: () => vm,
        host: () => assert.fail(),
        hypervisor: () => ({}) as HypervisorHost,
        shell: () => ({ run: () => assert.fail(), [Symbol.asyncDispose]: () => Promise.resolve() }),
      },
      vaults,
      tracking: { get: async () => undefined, list: async () => [], put: async () => undefined, delete: async () => undefined },
      open: () => ({ facts: async () => ({ state: this.state, agent: "connected" }) }) as unknown as HostBackup,
      moveWaiting: () => undefined,
      submit: () => assert.fail(),
    });
    return new GuestFiles({ captures, open: () => this.#host(), spoolDir: this.spoolDir });
  }

  #host(): HostGuestFiles {
    return {
      pack: async (_, __, take) => {
        this.#plug();
        for (let at = 0; at < archive.length; at += 7000) await take(archive.subarray(at, at + 7000));
        return { warnings: ["a file changed as it was read"] };
      },
      unpack: async (_, { source }) => {
        this.#plug();
        const bytes = Buffer.alloc(source.size);
        await source.read(0, bytes, { signal });
        this.unpacked = bytes;
      },
      end: async () => void (this.plugged = false),
    };
  }

  #plug(): void {
    assert.equal(this.plugged, false, "a channel of before is still there");
    this.plugged = true;
  }
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "godwit-files-"));
  const store = await LocalStore.open(join(folder, "vault"), { signal, create: true });
  const secret = { kind: "passphrase", passphrase: "x" } as const;
  const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };
  vault = await Vault.init(store, { secret, label: "test", cost, grid: 4096, signal, tuning: { threads: 0 } });
});
after(async () => rm(folder, { recursive: true }));

jobKindContract("vm.capture-files", {
  async setup() {
    const world = new World();
    await mkdir(world.spoolDir);
    const set = `set${count}`;
    return {
      kind: filesCaptureJob(world.files()),
      input: { vmId: "v1", vm: "web", vaultId: vault.id, vault: "main", set, paths: ["/etc"] },
      async verify(job) {
        assert.equal(world.plugged, false, "the channel is still there");
        assert.deepEqual(await readdir(world.spoolDir), [], "an archive is left on the server");
        if (job.state !== "done") return;
        const { pointId, readBytes, warnings } = job.result as FilesCaptured;
        assert.deepEqual([readBytes, warnings.length], [archive.length, 1]);
        point = await vault.point(pointId, { signal });
        assert.equal(point.name, `web:${set}`);
        await using disk = await vault.openDisk(point, "files.tar", { signal });
        const bytes = Buffer.alloc(disk.size);
        await disk.read(0, bytes, { signal });
        assert.deepEqual(bytes, Buffer.from(archive));
      },
    };
  },
  deadlineMs: 20_000,
});

jobKindContract("vm.recover-files", {
  setup() {
    const world = new World();
    return {
      kind: filesRecoverJob(world.files()),
      input: { pointId: point.id, vaultId: vault.id, vault: "main", vmId: "v1", vm: "web", into: "/srv/back" },
      verify(job) {
        assert.equal(world.plugged, false, "the channel is still there");
        if (job.state === "done") assert.deepEqual(world.unpacked, Buffer.from(archive));
      },
    };
  },
  deadlineMs: 20_000,
});

test("a capture of files of a guest that was turned off meanwhile leaves no archive of a server that died", async () => {
  const world = new World();
  await mkdir(world.spoolDir);
  await writeFile(join(world.spoolDir, "files-j1.tar"), "half of it");
  world.state = "off";
  const input = { vmId: "v1", vm: "web", vaultId: vault.id, vault: "main", set: "etc", paths: ["/etc"] };
  const context = { id: "j1", input, attempt: 2, signal, stopping: signal, reason: () => assert.fail() };
  const running = filesCaptureJob(world.files()).run(context as unknown as JobContext<typeof input>);
  await assert.rejects(running, /web is off/);
  assert.deepEqual(await readdir(world.spoolDir), []);
});
