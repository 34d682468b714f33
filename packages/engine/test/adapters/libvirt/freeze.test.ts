import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@godwit/core";
import type { Connection, Domain } from "@godwit/libvirt";
import { armTimer, type Freezing, whileFrozen } from "../../../src/adapters/libvirt/backup/freeze.ts";

import { openLocalShell } from "../../../src/adapters/ssh/index.ts";

type Agent = (command: string) => Promise<number>;

/** A guest's agent, and a host that says what was asked of its shell. */
function scripted(agent: Agent, virsh = true): Freezing & { readonly said: string[] } {
  const said: string[] = [];
  const connection = {
    remote: { connectGetUri: async () => "qemu:///system" },
    agentCommand: async (_: Domain, { execute }: { execute: string }) => {
      if (execute.startsWith("guest-fsfreeze-")) said.push(execute.replace("guest-fsfreeze-", ""));
      return await agent(execute);
    },
  };
  return {
    said,
    connection: connection as unknown as Connection,
    dom: { name: "web", uuid: "v1", id: 1 },
    clock: systemClock,
    vmId: "v1",
    moment: "m1",
    shell: {
      run: async ([, , script = ""]) => {
        said.push(script.includes("setsid") ? "arm" : "disarm");
        return { code: virsh ? 0 : 3, stdout: "", stderr: virsh ? "" : "no virsh" };
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
  };
}

const { signal } = new AbortController();
const moment = async (): Promise<string> => "taken";

describe("a freeze", () => {
  it("begins after its timer, and ends before the timer is stood down", async () => {
    const guest = scripted(async () => 2);
    const { value, freeze } = await whileFrozen(guest, signal, moment);
    assert.deepEqual(guest.said, ["arm", "freeze", "thaw", "disarm"]);
    assert.deepEqual([value, freeze.outcome, freeze.fileSystems], ["taken", "held", 2]);
  });

  it("has its whole timer before it, however long the agent takes to answer before", async () => {
    const guest = scripted(async (command) => {
      if (command === "guest-get-osinfo") await sleep(50).then(() => guest.said.push("asked"));
      return 2;
    });
    await whileFrozen(guest, signal, moment);
    assert.deepEqual(guest.said, ["asked", "arm", "freeze", "thaw", "disarm"]);
  });

  it("is not begun where nothing would end it; the moment is taken all the same", async () => {
    const guest = scripted(async () => 2, false);
    const { value, freeze } = await whileFrozen(guest, signal, moment);
    assert.deepEqual(guest.said, ["arm"]);
    assert.deepEqual([value, freeze.outcome], ["taken", "refused"]);
    assert.match(freeze.text, /no virsh/);
  });

  it("is thawed although it was refused, because a slow agent may freeze later", async () => {
    const guest = scripted(async (command) => {
      if (command.endsWith("freeze")) throw new Error("the agent does not answer");
      return 0;
    });
    const { freeze } = await whileFrozen(guest, signal, moment);
    assert.deepEqual(guest.said, ["arm", "freeze", "thaw", "disarm"]);
    assert.equal(freeze.outcome, "refused");
  });

  it("is not believed when the agent froze nothing, or found nothing frozen at the end", async () => {
    assert.equal(
      (
        await whileFrozen(
          scripted(async () => 0),
          signal,
          moment,
        )
      ).freeze.outcome,
      "refused",
    );
    const broken = scripted(async (command) => (command.endsWith("freeze") ? 2 : 0));
    assert.equal((await whileFrozen(broken, signal, moment)).freeze.outcome, "broken");
  });

  it("leaves its timer armed when the guest cannot be thawed", async () => {
    const guest = scripted(async (command) => {
      if (command.endsWith("thaw")) throw new Error("the agent does not answer");
      return 2;
    });
    assert.equal((await whileFrozen(guest, signal, moment)).freeze.outcome, "broken");
    assert.deepEqual(guest.said, ["arm", "freeze", "thaw"]);
  });

  it("ends when the moment could not be taken, and when everything was cancelled meanwhile", async () => {
    const failing = scripted(async () => 2);
    await assert.rejects(
      whileFrozen(failing, signal, () => Promise.reject(new Error("no"))),
      /no/,
    );
    assert.deepEqual(failing.said, ["arm", "freeze", "thaw", "disarm"]);
    const cancel = new AbortController();
    const cancelled = scripted(async (command) => {
      if (command.endsWith("freeze")) cancel.abort(new Error("cancelled"));
      return 2;
    });
    await assert.rejects(whileFrozen(cancelled, cancel.signal, moment), /cancelled/);
    assert.deepEqual(cancelled.said, ["arm", "freeze", "thaw", "disarm"]);
  });
});

describe("the timer on the host", { skip: process.getuid?.() !== 0 }, () => {
  /** Arms it on this machine, where time passes at once and `virsh` is as given, and waits until it has ended. */
  async function ended(virsh: (folder: string) => string): Promise<{ file(name: string): Promise<string> } & AsyncDisposable> {
    const folder = await mkdtemp(join(tmpdir(), "godwit-timer-"));
    const moment = randomUUID();
    const flag = `/run/godwit-${moment}.thaw`;
    try {
      await using real = openLocalShell();
      await writeFile(join(folder, "sleep"), "#!/bin/sh\n", { mode: 0o755 });
      await writeFile(join(folder, "virsh"), `#!/bin/sh\n${virsh(folder)}\n`, { mode: 0o755 });
      const run: Freezing["shell"]["run"] = ([sh = "", c = "", script = "", ...more], options) =>
        real.run([sh, c, `PATH=${folder}:$PATH\n${script}`, ...more], options);
      assert.equal(await armTimer({ ...scripted(async () => 0), shell: { ...real, run }, moment }, signal), undefined);
      for (const until = performance.now() + 20_000; existsSync(flag) && performance.now() < until;) await sleep(50);
      assert.ok(!existsSync(flag), "it has not ended");
    } finally {
      await rm(flag, { force: true });
    }
    return { file: (name) => readFile(join(folder, name), "utf8"), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
  }

  it("thaws the guest also when the daemon was away for minutes", async () => {
    await using host = await ended(
      (folder) => `echo >>${folder}/asked; [ $(wc -l <${folder}/asked) -gt 300 ] || exit 1; echo "$*" >>${folder}/answered`,
    );
    assert.match(await host.file("answered"), /qemu:\/\/\/system qemu-agent-command .* v1 .*fsfreeze-thaw/);
  });

  it("ends with the VM", async () => {
    await using host = await ended((folder) => `echo >>${folder}/asked; case $* in *domstate*) echo "shut off";; *) exit 1;; esac`);
    assert.equal((await host.file("asked")).length, 2);
  });
});
