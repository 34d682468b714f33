import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openLocalShell } from "../../src/adapters/ssh/local-shell.ts";
import {
  canCompare,
  compareFiles,
  type Extent,
  type HostFile,
  joinExtents,
  lengthOf,
  pieces,
  trim,
} from "../../src/migration/host-digest.ts";

describe("files that two hosts compare", () => {
  const signal = AbortSignal.timeout(30_000);
  const shell = openLocalShell();
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-digest-"));
  });
  after(async () => {
    await shell[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** A sparse file of that length, with bytes at some places. */
  async function file(name: string, bytes: number, data: Readonly<Record<number, string>>): Promise<HostFile> {
    const path = join(folder, name);
    await using handle = await open(path, "w");
    await handle.truncate(bytes);
    for (const [at, text] of Object.entries(data)) await handle.write(Buffer.from(text), 0, text.length, Number(at));
    return { shell, path };
  }

  const compare = (one: HostFile, other: HostFile, bytes: number): ReturnType<typeof compareFiles> =>
    compareFiles(one, other, { bytes, signal, progress: () => undefined });

  it("are the same wherever their holes are", async () => {
    const bytes = 20_000_001;
    const one = await file("one", bytes, { 70_000: "here", 19_999_990: "the end" });
    const other = await file("other", bytes, { 70_000: "here", 9_000_000: "\0".repeat(9000), 19_999_990: "the end" });
    const compared = await compare(one, other, bytes);
    assert.equal(compared.same, true);
    assert.ok(compared.dataBytes >= 8 && compared.dataBytes <= bytes, `${compared.dataBytes}`);
    assert.match(compared.digest, /^[0-9a-f]{64}$/);
  });

  it("are different for a byte anywhere: in data, in a hole, at the end", async () => {
    const bytes = 5_000_000;
    const one = await file("base", bytes, { 0: "abc", 4_999_999: "z" });
    for (const [name, data] of Object.entries({
      data: { 0: "abd", 4_999_999: "z" },
      hole: { 0: "abc", 2_500_000: "!", 4_999_999: "z" },
      end: { 0: "abc", 4_999_999: "y" },
      missing: { 4_999_999: "z" },
    }))
      assert.equal((await compare(one, await file(name, bytes, data), bytes)).same, false, name);
  });

  it("may be empty, or nothing but a hole", async () => {
    assert.equal((await compare(await file("e1", 0, {}), await file("e2", 0, {}), 0)).same, true);
    assert.equal((await compare(await file("h1", 9_000_000, {}), await file("h2", 9_000_000, {}), 9_000_000)).same, true);
  });

  it("are cut to the length of the original", async () => {
    const one = await file("long", 1024, { 0: "x" });
    await trim(one, 1001, signal);
    assert.equal(await lengthOf(one, signal), 1001);
    assert.equal(await canCompare(shell, signal), true);
    await assert.rejects(trim({ shell, path: join(folder, "none") }, 5, signal), /could not be ended at 5 bytes/);
  });

  it("are read in parts that each take a limited time, none left out and none twice", () => {
    const extents: Extent[] = [
      { offset: 0, length: 150 << 20 },
      ...Array.from({ length: 1000 }, (_, at) => ({ offset: (1 << 30) + at * (8 << 20), length: 65_536 })),
    ];
    const groups = pieces(extents);
    for (const group of groups) assert.ok(group.length <= 400 && group.reduce((sum, { length }) => sum + length, 0) <= 64 << 20);
    assert.deepEqual(joinExtents([groups.flat()], 2 ** 40), joinExtents([extents], 2 ** 40));
    const far = joinExtents([[{ offset: 5, length: 1 }], [{ offset: 10 << 20, length: 70_000 }]], (10 << 20) + 80_000);
    assert.deepEqual(far, [
      { offset: 0, length: 65_536 },
      { offset: 10 << 20, length: 80_000 },
    ]);
  });
});
