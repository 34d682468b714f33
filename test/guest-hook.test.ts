import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { guestHook } from "@godwit/cli";
import { judgeHooks, type HookStatus, parseStatus } from "@godwit/engine";

describe("the hook for guests", () => {
  let folder: string;
  let hook: string;
  let earlier: HookStatus | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-hook-"));
    hook = join(folder, "fsfreeze-hook");
    await mkdir(join(folder, "fsfreeze-hook.d"));
    // Its places in a guest become places of the test.
    await writeFile(hook, guestHook.replaceAll("/etc/qemu", folder).replaceAll("/run/", `${folder}/`), { mode: 0o755 });
  });
  after(() => rm(folder, { recursive: true }));

  async function script(name: string, body: string): Promise<void> {
    await writeFile(join(folder, "fsfreeze-hook.d", name), `#!/bin/sh\n${body}\n`);
    await chmod(join(folder, "fsfreeze-hook.d", name), 0o755);
  }

  const run = (verb: string): Promise<unknown> => promisify(execFile)(hook, [verb], { timeout: 20_000 });

  /** A freeze and a thaw, and what they prove. */
  async function freeze(): Promise<ReturnType<typeof judgeHooks>> {
    await run("freeze");
    await run("thaw");
    const status = parseStatus(await readFile(join(folder, "godwit-fsfreeze"), "utf8"));
    const verdict = judgeHooks(earlier, status);
    earlier = status;
    return verdict;
  }

  it("proves nothing while there is no script, nor when it did not run at this freeze", async () => {
    assert.equal((await freeze()).outcome, "unknown");
    assert.equal(judgeHooks(earlier, earlier).outcome, "unknown");
    assert.equal(judgeHooks(undefined, undefined).outcome, "unknown");
  });

  it("proves that every script was well, and runs each with freeze and thaw", async () => {
    await script("db", `echo "$1" >>${folder}/calls`);
    await script("my web", "exit 0");
    await script("old.bak", "exit 1");
    const { outcome, text } = await freeze();
    assert.deepEqual([outcome, text], ["well", "the guest's own hooks made it ready: db, my web"]);
    assert.equal(await readFile(join(folder, "calls"), "utf8"), "freeze\nthaw\n");
  });

  it("says who failed, and proves nothing of a freeze that somebody else's came between", async () => {
    await script("web", "exit 3");
    const { outcome, text } = await freeze();
    assert.equal(outcome, "failed");
    assert.match(text, /web failed \(exit code 3\)/);
    await run("freeze");
    assert.equal((await freeze()).outcome, "unknown");
    await rm(join(folder, "fsfreeze-hook.d/web"));
  });

  it("ends a script that hangs at the freeze, and does not wait for one at the thaw", async () => {
    await script("db", "exec sleep 30");
    const { outcome, text } = await freeze();
    assert.equal(outcome, "failed");
    assert.match(text, /db took too long/);
    await script("db", '[ "$1" = freeze ] || exec sleep 8');
    const late = await freeze();
    assert.equal(late.outcome, "well");
    assert.match(late.text, /look after it: db took too long at the thaw/);
  });
});
