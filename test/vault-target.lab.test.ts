import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { mountNew } from "../packages/vault/test/support/mounts.ts";
import { mib, VaultCli } from "../packages/cli/test/support/vault-cli.ts";

const execute = promisify(execFile);
const image = randomBytes(12 * mib);

describe("godwit vault restore to a target that fails", () => {
  for (const inPlace of [false, true]) {
    it(`says of a full file system where it stopped, leaves nothing beside the target, and goes on when there is room${inPlace ? ", in place" : ""}`, async () => {
      await using narrow = await startNarrow();
      const { cli, folder, at } = narrow;
      const target = at("out.raw");
      if (inPlace) {
        await writeFile(target, "");
        await truncate(target, image.length);
      }
      const args = ["restore", "web", target, ...(inPlace ? ["--in-place"] : [])];

      const stopped = await cli.run(args);
      assert.equal(stopped.code, 1);
      assert.match(stopped.err, /cannot write to .*out\.raw.* at offset \d+: the file system is full; run it again/);
      const left = (await readdir(folder)).filter((name) => name !== "ballast");
      assert.equal(left.length, 1, "the target alone, under the name that a second run knows it by");
      assert.match(left[0]!, inPlace ? /^out\.raw$/ : /^out\.raw\.[0-9a-f]+\.part$/);

      await rm(at("ballast"));
      const [result] = await cli.json<{ keptBytes: number; writtenBytes: number }[]>(...args);
      assert.ok(result!.keptBytes > 4 * mib, `${result!.keptBytes} bytes kept`);
      assert.equal(result!.keptBytes + result!.writtenBytes, image.length);
      assert.deepEqual(await readdir(folder), ["out.raw"]);
      assert.deepEqual(await readFile(target), image);
    });
  }

  it("does not trust a device that took what it could not store, and goes on from what is really there", async () => {
    await using narrow = await startNarrow();
    const { cli, at } = narrow;
    await writeFile(at("backing"), "");
    await truncate(at("backing"), image.length);
    await using loop = await loopDevice(at("backing"));

    const stopped = await cli.run(["restore", "web", loop.path]);
    assert.equal(stopped.code, 1);
    assert.match(stopped.err, /cannot (make durable what was written|write) to \/dev\/loop\d+/);
    await rm(at("ballast"));
    await cli.json("restore", "web", loop.path, "--in-place");
    assert.deepEqual(await readFile(at("backing")), image);
  });
});

/** A vault that holds the image as `web`, and a file system with too little room for it until its `ballast` goes. */
async function startNarrow(): Promise<
  AsyncDisposable & { readonly cli: VaultCli; readonly folder: string; readonly at: (name: string) => string }
> {
  await using stack = new AsyncDisposableStack();
  const cli = stack.use(await VaultCli.make());
  const { path: folder } = stack.use(await mountNew("tmpfs", 16));
  const at = (name: string): string => join(folder, name);
  await writeFile(cli.at("vda.raw"), image);
  await cli.json("put", "--name", "web", `vda=${cli.at("vda.raw")}`);
  await writeFile(at("ballast"), Buffer.alloc(8 * mib, 1));
  const owned = stack.move();
  return { cli, folder, at, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function loopDevice(backing: string): Promise<AsyncDisposable & { readonly path: string }> {
  const { stdout } = await execute("losetup", ["--find", "--show", backing]);
  const path = stdout.trim();
  return { path, [Symbol.asyncDispose]: async () => void (await execute("losetup", ["--detach", path])) };
}
