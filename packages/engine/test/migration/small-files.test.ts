import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { openLocalShell } from "../../src/adapters/ssh/local-shell.ts";
import { carrySmallFiles, finishSmallFiles, undoSmallFiles } from "../../src/migration/small-files.ts";
import type { HostShell } from "../../src/ports/shell.ts";

describe("small files that move along", () => {
  const signal = AbortSignal.timeout(30_000);
  const source = openLocalShell();
  let folder: string;
  let path: string;

  /** Another host: what is below `here` on the source is below `there`. */
  const destination: HostShell = {
    run: (argv, options) =>
      source.run(
        argv.map((word) => word.replace(join(folder, "here"), join(folder, "there"))),
        options,
      ),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const there = (name = "it's vars.fd"): string => join(folder, "there", "deep", name);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-small-"));
    await mkdir(join(folder, "here", "deep"), { recursive: true });
    path = join(folder, "here", "deep", "it's vars.fd");
    await writeFile(path, Buffer.alloc(700_001, "v\0"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  after(() => source[Symbol.asyncDispose]());

  it("arrive whole, for nobody else to read, and then the original goes", async () => {
    const files = [{ path, replaces: false }];
    const [proof] = await carrySmallFiles(files, { source, destination, signal });
    assert.deepEqual([proof?.bytes, proof?.digest.length], [700_001, 64]);
    assert.deepEqual(await readFile(there()), await readFile(path));
    assert.equal((await stat(there())).mode & 0o777, 0o600);
    await carrySmallFiles(files, { source, destination, signal });
    await finishSmallFiles(files, { source, destination, signal });
    assert.deepEqual(await readdir(join(folder, "here", "deep")), []);
    assert.deepEqual(await readdir(join(folder, "there", "deep")), ["it's vars.fd"]);
  });

  it("are taken back when the move does not come about, and what was there before is there again", async () => {
    await mkdir(join(folder, "there", "deep"), { recursive: true });
    await writeFile(there(), "an older one");
    const files = [{ path, replaces: true }];
    await carrySmallFiles(files, { source, destination, signal });
    assert.notEqual(await readFile(there(), "utf8"), "an older one");
    for (const _ of ["once", "and again"]) await undoSmallFiles(files, destination, signal);
    assert.equal(await readFile(there(), "utf8"), "an older one");
    assert.equal((await readFile(path)).length, 700_001);
    const created = [{ path, replaces: false }];
    await rm(there());
    await carrySmallFiles(created, { source, destination, signal });
    for (const _ of ["once", "and again"]) await undoSmallFiles(created, destination, signal);
    assert.deepEqual(await readdir(join(folder, "there", "deep")), []);
  });

  it("stay where both hosts see one file after all", async () => {
    const files = [{ path, replaces: true }];
    for (const _ of ["once", "and again"]) {
      await assert.rejects(finishSmallFiles(files, { source, destination: source, signal }), /one file on both hosts, and stays/);
      assert.equal((await readFile(path)).length, 700_001);
    }
  });

  it("say which one cannot be read", async () => {
    await assert.rejects(
      carrySmallFiles([{ path: `${path}.not`, replaces: false }], { source, destination, signal }),
      /vars\.fd\.not could not be copied/,
    );
  });
});
