import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { examplesOf } from "../../../test/support/examples.ts";

const execute = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");

describe("the examples in the documents", () => {
  it("of the guide to the vault run as they stand, one after the other", { timeout: 240_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-guide-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    const bin = join(folder, "bin");
    await mkdir(bin);
    const main = join(root, "packages/cli/src/main.ts");
    const cache = join(folder, "compiled");
    const shim = `#!/bin/sh\nexport NODE_COMPILE_CACHE=${cache}\nexec ${process.execPath} --conditions=godwit-source --disable-warning=ExperimentalWarning ${main} "$@"\n`;
    await writeFile(join(bin, "godwit"), shim, { mode: 0o755 });
    const { scripts: examples } = examplesOf(await readFile(join(root, "docs/guides/vault.md"), "utf8"));
    assert.ok(examples.length > 10);
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const script = `set -eux\n${examples.join("\n")}`;
    await execute("bash", ["-c", script], { cwd: folder, env: { ...env, PATH: `${bin}:${env["PATH"]}` } });
  });

  it("of the vault's README runs as it stands", async () => {
    const folder = await mkdtemp(join(tmpdir(), "godwit-readme-"));
    await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
    await writeFile(join(folder, "vda.raw"), Buffer.alloc(3 << 20, "guest"));
    const example = examplesOf(await readFile(join(root, "packages/vault/README.md"), "utf8")).files.get("example.ts");
    // Within the repository, where the packages are found by their names.
    const program = join(root, ".cache", `readme-${process.pid}.ts`);
    await mkdir(join(root, ".cache"), { recursive: true });
    await writeFile(program, example!.replaceAll("/srv", folder));
    await using _program = { [Symbol.asyncDispose]: () => rm(program) };
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    await execute(process.execPath, ["--conditions=godwit-source", "--disable-warning=ExperimentalWarning", program], { cwd: root, env });
    assert.deepEqual(await readFile(join(folder, "restored.raw")), await readFile(join(folder, "vda.raw")));
  });
});
