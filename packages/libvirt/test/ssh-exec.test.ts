import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type { ClientChannel } from "ssh2";
import { AnnouncedLine, Command } from "../src/ssh/exec.ts";

/** A channel whose "exit" is over already, as when one segment brought the reply, the output and the end. */
function endedChannel(stdout: string): ClientChannel {
  const channel = Object.assign(new PassThrough(), { stderr: new PassThrough() });
  channel.write(stdout);
  return channel as unknown as ClientChannel;
}

const limits = { what: "a command", maxOutputBytes: 1000 };

test("a command that was over before anybody listened has its code and its output", async () => {
  const channel = endedChannel("done\n");
  const command = new Command(channel, new AnnouncedLine("echo done"), limits);
  channel.once("end", () => channel.emit("close", 3));
  channel.end();
  assert.deepEqual(await command.result, { code: 3, signal: null, stdout: "done\n", stderr: "" });
});

test("a command that a signal ended has no code, and one whose connection ended is an error", async () => {
  const killed = endedChannel("");
  const command = new Command(killed, new AnnouncedLine("sleep 9"), limits);
  killed.emit("close", null, "SIGKILL");
  assert.deepEqual(await command.result, { code: null, signal: "SIGKILL", stdout: "", stderr: "" });
  const lost = endedChannel("");
  const never = new Command(lost, new AnnouncedLine("sleep 9"), limits);
  lost.emit("close");
  await assert.rejects(never.result, { kind: "closed" });
});
