import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { systemClock } from "@godwit/core";
import {
  EngineError,
  isFinal,
  type MigrationInput,
  type MigrationsOptions,
  type JobRecord,
  JobRunner,
  migrationJob,
  storageMoveJob,
} from "../../src/index.ts";
import type { NetworkVerdict } from "../../src/model/network.ts";
import { MoveError } from "../../src/ports/migration.ts";
import type { HostShell } from "../../src/ports/shell.ts";
import { JobMemory, MemoryJobStore } from "../jobs/memory-store.ts";
import { ScriptedSite, work } from "./scripted-site.ts";

const silent = { info: () => undefined, warn: () => undefined };
const memoryFile = "/a/web-v.godwit-memory";

const ends = { sourceId: "alpha", source: "alpha", destinationId: "bravo", destination: "bravo" };
const only: NetworkVerdict = {
  networkId: "n",
  network: "migration",
  rank: 1,
  verdict: "chosen",
  reason: { code: "test", text: "there is no other" },
  destinationAddress: "10.0.0.2",
};

async function move(site: ScriptedSite, kind: "live" | "quick", more: Partial<MigrationInput> = {}): Promise<JobRecord> {
  const kinds = [migrationJob(site.migrations)];
  await using runner = new JobRunner({ store: new MemoryJobStore(new JobMemory()), clock: systemClock, owner: "test", kinds, log: silent });
  await runner.start();
  const input = { vmId: "v", vm: "web", ...ends, kind, storagePool: "local", peerToPeer: false, autoConverge: false, ...more };
  const { id } = await runner.submit("vm.migrate", input);
  for await (const job of runner.watch(id, { signal: AbortSignal.timeout(20_000) })) if (isFinal(job.state)) return job;
  return await runner.get(id);
}

describe("a quick move of a guest that somebody else has a hand in", () => {
  it("does not go back to memory that is older than the disk: it was started and shut down while its disk was copied", async () => {
    const site = new ScriptedSite("running");
    site.before = (what) => {
      if (what !== "copyTo") return;
      site.alpha.files.set("/a/web.qcow2", "the disk, and a day's work");
      site.alpha.ended = true;
    };
    const job = await move(site, "quick");
    assert.equal(job.state, "failed");
    assert.match(job.error?.message ?? "", /web was not moved; it is off on the source: it ended there/);
    assert.equal(site.alpha.process, undefined, "it stays off");
    assert.deepEqual([...site.alpha.files], [["/a/web.qcow2", "the disk, and a day's work"]]);
    assert.equal(site.bravo.files.size, 0);
  });

  it("keeps what it copied when the destination has lost it after the hand-over: it may have run, and be elsewhere", async () => {
    const site = new ScriptedSite("running");
    site.before = (what) => {
      if (what !== "resume") return;
      Object.assign(site.bravo, { process: undefined, defined: false });
      throw new EngineError("hypervisor", "there is no such VM");
    };
    const job = await move(site, "quick");
    assert.match(job.error?.message ?? "", /the destination has lost it; the source still has its definition/);
    assert.deepEqual([...site.bravo.files.keys()], ["/b/web.qcow2", "/b/web-v.godwit-memory"]);
    assert.match(job.reasons.map(({ text }) => text).join("\n"), /nothing was deleted \(\/b\/web\.qcow2/);
  });

  it("does not start it from what an earlier move left: it was shut down in the moment before its memory was saved", async () => {
    const site = new ScriptedSite("running");
    site.alpha.files.set(memoryFile, "the memory of last week");
    site.before = (what) => {
      if (what === "save") Object.assign(site.alpha, { process: undefined, ended: true });
    };
    const job = await move(site, "quick");
    assert.equal(job.state, "failed");
    assert.deepEqual([site.alpha.process, site.alpha.memory], [undefined, work]);
  });
});

describe("a disk that goes through the server", () => {
  /** What is on stable storage when the original is deleted. */
  const siteThatSyncs = (code: number): { readonly site: ScriptedSite; readonly synced: string[] } => {
    const site = new ScriptedSite("running");
    const synced: string[] = [];
    const run: HostShell["run"] = async ([command, , path = ""]) => {
      if (command !== "sync") return { code: 127, stdout: "", stderr: "" };
      synced.push(`${path} ${site.alpha.files.has("/a/web.qcow2") ? "before" : "after"}`);
      return { code, stdout: "", stderr: code === 0 ? "" : "Input/output error" };
    };
    site.shell = { run, [Symbol.asyncDispose]: () => Promise.resolve() };
    return { site, synced };
  };

  it("is on the destination's stable storage before the original goes", async () => {
    const { site, synced } = siteThatSyncs(0);
    assert.equal((await move(site, "quick")).state, "done");
    assert.deepEqual(synced, ["/b/web.qcow2 before"]);
  });

  it("is no reason to delete the original when that cannot write it", async () => {
    const { site } = siteThatSyncs(1);
    assert.equal((await move(site, "quick")).state, "failed");
    assert.deepEqual([site.alpha.process, site.alpha.memory, site.alpha.files.has("/a/web.qcow2")], ["running", work, true]);
  });
});

async function moveDisk(site: ScriptedSite): Promise<JobRecord | undefined> {
  const kinds = [storageMoveJob(site.migrations)];
  await using runner = new JobRunner({ store: new MemoryJobStore(new JobMemory()), clock: systemClock, owner: "test", kinds, log: silent });
  await runner.start();
  const { id } = await runner.submit("vm.move-storage", { vmId: "v", vm: "web", hostId: "alpha", host: "alpha", pool: "fast" });
  for await (const job of runner.watch(id, { signal: AbortSignal.timeout(20_000) })) if (isFinal(job.state)) return job;
  return undefined;
}

describe("a move of a disk of a VM that is off", () => {
  it("leaves it where it was when the copy cannot be put on stable storage", async () => {
    const site = new ScriptedSite("off");
    const run: HostShell["run"] = () => Promise.resolve({ code: 1, stdout: "", stderr: "Input/output error" });
    site.shell = { run, [Symbol.asyncDispose]: () => Promise.resolve() };
    assert.equal((await moveDisk(site))?.state, "failed");
    assert.deepEqual([site.alpha.diskPath, [...site.alpha.files.keys()]], ["/a/web.qcow2", ["/a/web.qcow2"]]);
  });

  it("puts the definition back when the VM was started in the moment before it was changed", async () => {
    const site = new ScriptedSite("off");
    site.before = (what) => {
      if (what === "redefine") Object.assign(site.alpha, { process: "running", liveDiskPath: "/a/web.qcow2" });
    };
    assert.equal((await moveDisk(site))?.state, "failed");
    assert.deepEqual([site.alpha.diskPath, [...site.alpha.files.keys()]], ["/a/web.qcow2", ["/a/web.qcow2"]]);
  });
});

describe("moves that are on their way at the same time", () => {
  it("are known to the rules of those that set out later, until their jobs end", async () => {
    const site = new ScriptedSite("running");
    const seen: string[] = [];
    const rules: MigrationsOptions["rules"] = async ({ vmId }, _kind, arriving) => {
      seen.push(`${vmId}: ${arriving.map((one) => `${one.vmId}>${one.destinationId}`).join()}`);
      return [];
    };
    Object.assign(site.migrations.options, { rules });
    const input = (vmId: string): MigrationInput => ({
      vmId,
      vm: vmId,
      ...ends,
      storagePool: "local",
      peerToPeer: false,
      autoConverge: false,
    });
    const { signal } = new AbortController();
    {
      using _first = site.migrations.arriving(input("a"));
      using _second = site.migrations.arriving(input("b"));
      for (const vmId of ["a", "b", "c"]) await site.migrations.prepare(input(vmId), { signal });
    }
    await site.migrations.prepare(input("c"), { signal });
    assert.deepEqual(seen, ["a: ", "b: a>bravo", "c: a>bravo,b>bravo", "c: "]);
    site.network = only;
    Object.assign(site.migrations.options, { rules: undefined });
    assert.equal((await move(site, "live")).state, "done");
    Object.assign(site.migrations.options, { rules });
    await site.migrations.prepare(input("c"), { signal });
    assert.equal(seen.at(-1), "c: ", "a job that has ended is on its way no more");
  });
});

describe("the saved memory of a guest that was moved quickly", () => {
  const isMemory = (path: string): boolean => path.endsWith(".godwit-memory");

  it("goes by the host's shell where it is in no storage pool", async () => {
    const site = new ScriptedSite("running");
    site.outsideOfPools = (path) => isMemory(path) && path.startsWith("/a/");
    const run: HostShell["run"] = async ([command, , , path = ""]) => {
      if (command === "rm") site.alpha.files.delete(path);
      return { code: command === "rm" || command === "sync" ? 0 : 127, stdout: "", stderr: "" };
    };
    site.shell = { run, [Symbol.asyncDispose]: () => Promise.resolve() };
    assert.equal((await move(site, "quick")).state, "done");
    assert.deepEqual([...site.alpha.files.keys(), ...site.bravo.files.keys()].filter(isMemory), []);
  });
});

describe("a live move that fails", () => {
  it("does not say that a guest runs which stands still, as one does that lost its link in post-copy", async () => {
    const site = new ScriptedSite("running");
    site.network = only;
    site.before = () => {
      Object.assign(site.alpha, { process: "paused" });
      site.bravo.process = undefined;
      throw new MoveError("the link is lost", true);
    };
    const { error, reasons } = await move(site, "live", { policy: "post-copy" });
    assert.deepEqual([...site.bravo.files.keys()], ["/b/web.qcow2"], "what it wrote there in post-copy is nowhere else");
    assert.match(reasons.map(({ text }) => text).join("\n"), /copies of its disks were left on bravo, as it may have run there/);
    assert.match(error?.message ?? "", /web was not moved: the hypervisor gave it up; it is on alpha, paused: the link/);
  });
});
