import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { mib, VaultCli } from "./support/vault-cli.ts";

const execute = promisify(execFile);
const main = resolve(import.meta.dirname, "../src/main.ts");
const reader = resolve(import.meta.dirname, "../../../docs/formats/read-vault.mjs");
/** Those of the test runner would make the command one of its tests. */
const nodeArgs = process.execArgv.filter((arg) => arg.startsWith("--conditions") || arg.startsWith("--disable-warning"));

describe("godwit vault as a process", () => {
  let cli: VaultCli;
  let image: Buffer;

  before(async () => {
    cli = await VaultCli.make();
    image = randomBytes(40 * mib);
    await writeFile(cli.at("vda.raw"), image);
  });
  after(() => cli[Symbol.asyncDispose]());

  function start(...args: readonly string[]): ChildProcess {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    // On a busy machine it is the put that waits, and not we, who are to hit it.
    const argv = ["-n", "10", process.execPath, ...nodeArgs, main, "vault", ...args];
    return spawn("nice", argv, { env: { ...env, ...cli.env }, stdio: "ignore" });
  }

  /** Objects of a kind that are there. */
  async function countOf(kind: string): Promise<number> {
    const entries = await readdir(cli.at(`vault/${kind}`), { recursive: true, withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isFile()).length;
  }

  /** Without the voids that keep the names of sessions that were given up. */
  async function countPoints(): Promise<number> {
    const names = await readdir(cli.at("vault/point")).catch(() => []);
    const starts = await Promise.all(names.map(async (name) => (await readFile(cli.at(`vault/point/${name}`))).toString("latin1", 0, 8)));
    return starts.filter((start) => start !== "GWVTVOID").length;
  }

  /** Kills a put as soon as one more object of a kind is there than before; the put's exit code where it was faster. */
  async function killAt(kind: string, more: number): Promise<number | null> {
    const enough = (await countOf(kind)) + more;
    const child = start("put", "--name", "web", `vda=${cli.at("vda.raw")}`);
    const ended = once(child, "exit") as Promise<[number | null]>;
    while (child.exitCode === null && (await countOf(kind)) < enough) await setTimeout(2);
    child.kill("SIGKILL");
    return (await ended)[0];
  }

  it("loses nothing to kill -9 at any step of a put, and goes on where it was", { timeout: 240_000 }, async () => {
    let inTheMiddle = 0;
    for (const [kind, more] of [
      ["session", 1],
      ["data", 1],
      ["data", 1],
      ["index", 1],
      ["point", 1],
    ] as const) {
      await killAt(kind, more);
      const verified = await cli.run(["verify"]);
      assert.equal(verified.code, 0, `after a kill at ${kind}: ${verified.err}${verified.out}`);
      const { points } = await cli.json<{ points: { id: string }[] }>("list");
      assert.equal(points.length, await countPoints());
      if (kind === "data" && points.length === 0) inTheMiddle += 1;
    }
    assert.ok(inTheMiddle > 0, "every put was done before the kill hit it");
    const point = await cli.json<{ figures: { newChunks: number; chunks: number } }>("put", "--name", "web", `vda=${cli.at("vda.raw")}`);
    assert.equal(point.figures.newChunks, 0, "everything was durable already");
    const stored = await cli.json<{ stored: { data: { bytes: number } } }>("status");
    assert.ok(stored.stored.data.bytes < image.length * 1.5, `${stored.stored.data.bytes} bytes stored of ${image.length}`);
    await cli.json("restore", "web", cli.at("back.raw"));
    assert.deepEqual(await readFile(cli.at("back.raw")), image);
    assert.equal(await countOf("session"), 0);
  });

  it("ends with 130 on Ctrl-C, and leaves what it has for the next put", async () => {
    const before = await countOf("point");
    await writeFile(cli.at("vdb.raw"), randomBytes(40 * mib));
    const child = start("put", "--name", "db", `vdb=${cli.at("vdb.raw")}`);
    const ended = once(child, "exit") as Promise<[number | null]>;
    const packs = await countOf("data");
    while (child.exitCode === null && (await countOf("data")) === packs) await setTimeout(2);
    child.kill("SIGINT");
    assert.equal((await ended)[0], 130);
    assert.equal(await countOf("point"), before);
    const point = await cli.json<{ figures: { adoptedPacks: number } }>("put", "--name", "db", `vdb=${cli.at("vdb.raw")}`);
    assert.ok(point.figures.adoptedPacks > 0);
  });

  it("writes what a reader made from the format document alone gives back", async () => {
    await writeFile(cli.at("passphrase"), "correct horse battery staple\n");
    await cli.json("key", "add", "--new-passphrase-file", cli.at("passphrase"));
    const { id } = await cli.json<{ id: string }>("show", "web");
    await execute(process.execPath, [reader, cli.at("vault"), cli.at("passphrase"), id, "vda", cli.at("read.raw")]);
    assert.deepEqual(await readFile(cli.at("read.raw")), image);
  });
});
