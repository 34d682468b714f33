import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DirtyRates } from "../../src/migration/dirty-rates.ts";
import { KeptFacts } from "../../src/migration/kept-facts.ts";
import type { MigrationInput } from "../../src/migration/model.ts";
import { ProvenFolders, proveSharing } from "../../src/migration/sharing.ts";
import type { HostMigration, SourceFacts } from "../../src/ports/migration.ts";
import type { HostShell } from "../../src/ports/shell.ts";
import { FakeClock } from "../jobs/fake-clock.ts";

const signal = new AbortController().signal;
const input: MigrationInput = {
  vmId: "v",
  vm: "web",
  sourceId: "a",
  source: "alpha",
  destinationId: "b",
  destination: "bravo",
  peerToPeer: false,
  autoConverge: false,
};
const there = { cpu: { fits: true, missing: [], text: "" }, machine: { known: true, text: "" }, freeMemoryBytes: 8, nics: [], pools: [] };
const facts = { vm: { files: [] as readonly string[] } as SourceFacts, copies: [], there, sharing: new Map() };

/** Two hosts that say what has become of what they had said. */
function ends(unchanged: boolean, freeMemoryBytes = 4): { from: HostMigration; to: HostMigration; signal: AbortSignal } {
  const from = { unchanged: async () => unchanged } as unknown as HostMigration;
  const to = { judgeAgain: async () => ({ freeMemoryBytes, sameName: "other" }) } as unknown as HostMigration;
  return { from, to, signal };
}

describe("what a plan was told of its moves", () => {
  it("is used once by the move's job, with what changes soonest asked anew", async () => {
    const kept = new KeptFacts(new FakeClock());
    kept.keep(input, facts);
    assert.equal(await kept.take({ ...input, destinationId: "c" }, ends(true)), undefined, "of another move");
    const used = await kept.take(input, ends(true));
    assert.deepEqual([used?.there.freeMemoryBytes, used?.there.sameName, used?.there.machine.known], [4, "other", true]);
    assert.equal(await kept.take(input, ends(true)), undefined, "once");
  });

  it("is not used when the VM has changed, when it is old, nor for a move that copies disks or stands still", async () => {
    const clock = new FakeClock();
    const kept = new KeptFacts(clock);
    kept.keep(input, facts);
    assert.equal(await kept.take(input, ends(false)), undefined);
    kept.keep(input, facts);
    await clock.advance(61_000);
    assert.equal(await kept.take(input, ends(true)), undefined);
    kept.keep({ ...input, storagePool: "p" }, { ...facts, copies: [{ target: "vda", pool: "p" }] });
    assert.equal(await kept.take({ ...input, storagePool: "p" }, ends(true)), undefined);
    kept.keep({ ...input, kind: "cold" }, facts);
    assert.equal(await kept.take({ ...input, kind: "cold" }, ends(true)), undefined);
  });

  it("has a dirty rate that is good for some minutes, and says how old it is", async () => {
    const clock = new FakeClock();
    const rates = new DirtyRates(clock);
    rates.note("v", 5);
    assert.deepEqual(rates.fresh("v"), { value: 5, text: "measured for 1 s" });
    await clock.advance(20_000);
    assert.equal(rates.fresh("v")?.text, "measured for 1 s, 20.0 s ago");
    await clock.advance(5 * 60_000);
    assert.equal(rates.fresh("v"), undefined);
    assert.equal(rates.fresh("other"), undefined);
  });
});

/** One folder for both hosts; counts what was asked of them. */
function shells(): { readonly source: HostShell; readonly destination: HostShell; readonly asked: string[] } {
  const tokens = new Set<string>();
  const asked: string[] = [];
  const shell = (name: string): HostShell => ({
    async run([, , script = "", , ...args], { stdin = "" }) {
      const lines = stdin.split("\n").filter(Boolean);
      const answer = (stdout: string): { code: number; stdout: string; stderr: string } => ({ code: 0, stdout, stderr: "" });
      const did = /umask/.test(script) ? "write" : script.startsWith("rm") ? "remove" : /cat/.test(script) ? "look" : "stat";
      asked.push(`${name} ${did}`);
      if (did === "write") tokens.add(args[1] ?? "");
      if (did === "remove") tokens.delete(args[1] ?? "");
      if (did === "stat") return answer(lines.map(() => "file\n").join(""));
      return answer(did === "look" ? lines.map(() => (tokens.has(args[0] ?? "") ? "yes\n" : "no\n")).join("") : "");
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  return { source: shell("source"), destination: shell("destination"), asked };
}

describe("the proof that disks are shared", () => {
  it("is made once for all moves of a plan between two hosts, and anew for any other", async () => {
    const clock = new FakeClock();
    const folders = new ProvenFolders(clock);
    const hosts = shells();
    const prove = (path: string, pair = "a b"): Promise<Map<string, string>> =>
      proveSharing([path], { ...hosts, signal }, { folders, pair });
    const all = await Promise.all(["/s/one", "/s/two", "/s/three"].map((path) => prove(path)));
    assert.deepEqual(
      all.map((found) => [...found.values()]),
      [["shared"], ["shared"], ["shared"]],
    );
    assert.equal(hosts.asked.filter((one) => one === "source write").length, 1);
    await prove("/s/four", "a c");
    await proveSharing(["/s/five"], { ...hosts, signal });
    await clock.advance(21_000);
    await prove("/s/six");
    assert.equal(hosts.asked.filter((one) => one === "source write").length, 4);
    assert.equal(hosts.asked.filter((one) => one === "source remove").length, 4);
  });

  it("is asked for again by who still wants it when whoever asked first was cancelled", async () => {
    const folders = new ProvenFolders(new FakeClock());
    const hosts = shells();
    let first = true;
    const source: HostShell = {
      ...hosts.source,
      run: (argv, options) => {
        const fails = first && /umask/.test(argv[2] ?? "");
        if (fails) first = false;
        return fails ? Promise.reject(new Error("cancelled")) : hosts.source.run(argv, options);
      },
    };
    const found = await proveSharing(["/s/one"], { ...hosts, source, signal }, { folders, pair: "a b" });
    assert.equal(found.get("/s/one"), "shared");
  });
});
