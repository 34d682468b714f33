import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@godwit/core";
import type { Connection, Domain } from "@godwit/libvirt";
import { type Freezing, whileFrozen } from "../../../src/adapters/libvirt/backup/freeze.ts";

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
