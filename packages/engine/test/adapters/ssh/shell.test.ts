import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openLocalShell, shellOf } from "../../../src/adapters/ssh/index.ts";
import { EngineError } from "../../../src/index.ts";

const isKind =
  (kind: string, message = /./) =>
  (error: unknown) =>
    error instanceof EngineError && error.kind === kind && message.test(error.message);

test("a local command: words as they are, input, both outputs, exit code; one that is missing ends with 127", async (t) => {
  await using shell = openLocalShell();
  const said = await shell.run(["sh", "-c", 'cat; printf %s "$1" >&2; exit 3', "sh", "it's $HOME"], { signal: t.signal, stdin: "in" });
  assert.deepEqual(said, { code: 3, stdout: "in", stderr: "it's $HOME" });
  assert.equal((await shell.run(["no-such-command-here"], { signal: t.signal })).code, 127);
  assert.equal(
    (await shell.run(["true"], { signal: t.signal, stdin: "x".repeat(1 << 20) })).code,
    0,
    "input that nobody reads does no harm",
  );
  assert.equal((await shell.run(["sh", "-c", "kill -9 $$"], { signal: t.signal })).code, undefined);
});

test("a local command that cannot be started for want of file descriptors fails by itself", async (t) => {
  await using shell = openLocalShell();
  const module = JSON.stringify(join(import.meta.dirname, "../../../src/adapters/ssh/index.ts"));
  const script = `
    import { openSync } from "node:fs";
    import { openLocalShell } from ${module};
    const shell = openLocalShell();
    try { for (;;) openSync("/dev/null"); } catch {}
    await shell.run(["true"], { signal: AbortSignal.timeout(5000) }).catch((error) => process.exitCode = error.kind === "host-lost" ? 42 : 1);
    await new Promise((resolve) => setTimeout(resolve, 50));`;
  const limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, ...process.execArgv, "--input-type=module", "-e", script];
  const { code, stderr } = await shell.run(limited, { signal: t.signal });
  assert.equal(code, 42, stderr);
});

test("a local command is ended, with what it started, on abort, after its deadline, when it writes too much, and on dispose", async (t) => {
  const shell = openLocalShell({ deadlineMs: 200 });
  await assert.rejects(shell.run(["sh", "-c", "sleep 1000 & wait"], { signal: t.signal }), isKind("timeout", /did not end in time/));
  await assert.rejects(
    shell.run(["head", "-c", "2000000", "/dev/zero"], { signal: t.signal }),
    isKind("invalid", /more than 1048576 bytes/),
  );
  const stop = new AbortController();
  const running = shell.run(["sleep", "1000"], { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(running, /enough/);
  const last = shell.run(["sleep", "1000"], { signal: t.signal });
  await shell[Symbol.asyncDispose]();
  await assert.rejects(last, isKind("host-lost"));
  await assert.rejects(shell.run(["true"], { signal: t.signal }), isKind("host-lost"));
});

test("a host's shell: by its SSH target or URI, this machine's for a local socket, none where there is no way", async (t) => {
  assert.equal(shellOf({ uri: "test:///default" }), undefined);
  assert.equal(shellOf({ uri: "qemu+tls://host.example/system" }), undefined);
  await using local = shellOf({ uri: "qemu:///system" });
  assert.equal((await local!.run(["echo", "here"], { signal: t.signal })).stdout, "here\n");
  const unreachable = { host: "127.0.0.1", port: 1, user: "root", knownHostsFile: "/dev/null" };
  for (const record of [
    { uri: "qemu+ssh://root@127.0.0.1:1/system?known_hosts=/dev/null" },
    { uri: "qemu+tls://h/system", ssh: unreachable },
  ]) {
    await using shell = shellOf(record);
    await assert.rejects(shell!.run(["true"], t), isKind("host-lost", /shell of 127.0.0.1 is out of reach/));
  }
});
