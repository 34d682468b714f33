import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { openLocalShell } from "../../src/adapters/ssh/local-shell.ts";
import { findInterfaces, proveSharing } from "../../src/migration/sharing.ts";
import type { HostShell } from "../../src/ports/shell.ts";

describe("which files two hosts share", () => {
  const signal = AbortSignal.timeout(30_000);
  const source = openLocalShell();
  let folder: string;

  /** Another host: what is below `own` here is below `there` on it. Both see all else. */
  const moved = (text: string): string => text.replaceAll(join(folder, "own"), join(folder, "there"));
  const destination: HostShell = {
    run: (argv, { stdin, ...options }) => source.run(argv.map(moved), { ...options, stdin: moved(stdin ?? "") }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const silent: HostShell = { ...destination, run: () => Promise.resolve({ code: 137, stdout: "", stderr: "Killed" }) };
  const prove = async (names: readonly string[], there = destination): Promise<(string | undefined)[]> => {
    const paths = names.map((name) => join(folder, name));
    const found = await proveSharing(paths, { source, destination: there, signal });
    return paths.map((path) => found.get(path));
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-sharing-"));
    for (const name of ["shared", "own", "there"]) await mkdir(join(folder, name));
    for (const name of ["shared/a", "own/b", "there/b", "own/c"]) await writeFile(join(folder, name), name);
  });
  afterEach(() => rm(folder, { recursive: true }));
  after(() => source[Symbol.asyncDispose]());

  it("is told by what one writes and the other sees, and nothing is left of that", async () => {
    assert.deepEqual(await prove(["shared/a", "own/b", "own/c"]), ["shared", "not-shared", "missing"]);
    for (const name of ["shared", "own", "there"]) assert.ok((await readdir(join(folder, name))).every((one) => !one.startsWith(".")));
  });

  it("does not take a link in a folder that is shared for the file behind it", async () => {
    await symlink(join(folder, "own/b"), join(folder, "shared/out"));
    await symlink("a", join(folder, "shared/in"));
    await symlink("a\nb", join(folder, "shared/odd"));
    await writeFile(join(folder, "shared/a\nb"), "");
    assert.deepEqual(await prove(["shared/out", "shared/in", "shared/odd", "shared/a"]), ["not-shared", "shared", "unproven", "shared"]);
  });

  it("is not told by a host that says nothing", async () => {
    assert.deepEqual(await prove(["shared/a"], silent), ["unproven"]);
    const looksAway: HostShell = {
      ...destination,
      run: (argv, options) => (argv[2]?.includes("cat") ? silent : destination).run(argv, options),
    };
    assert.deepEqual(await prove(["shared/a", "own/b"], looksAway), ["unproven", "unproven"]);
    assert.equal((await findInterfaces(silent, ["br0"], signal)).get("br0"), undefined);
    assert.equal((await findInterfaces(source, ["lo"], signal)).get("lo"), true);
  });
});
