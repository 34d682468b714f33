import assert from "node:assert/strict";
import { once } from "node:events";
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { cached, reachable } from "../src/debian.ts";
import { startDelayProxy } from "../src/delay-proxy.ts";
import { run } from "../src/process.ts";
import { watchAcknowledgements } from "../src/records/observe.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "godwit-lab-test-"));
  process.env["XDG_CACHE_HOME"] = folder;
});
after(() => rm(folder, { recursive: true }));

describe("run", () => {
  test("gives input and collects output", async () => {
    assert.deepEqual(await run(["cat"], { input: "hello" }), { code: 0, stdout: "hello", stderr: "" });
  });

  test("says in the command's own words why it failed", async () => {
    await assert.rejects(run(["bash", "-c", "echo no room >&2; exit 7"]), { kind: "failed", message: /exit 7.*: no room$/ });
    assert.equal((await run(["false"], { check: false })).code, 1);
  });

  test("tells a missing program", async () => {
    await assert.rejects(run(["godwit-no-such-program"]), { kind: "missing" });
  });

  test("kills at the deadline and on abort, whoever holds the pipes", async () => {
    const hold = ["bash", "-c", "trap '' TERM; sleep 5 & wait"];
    await assert.rejects(run(hold, { timeoutMs: 50 }), { kind: "timeout" });
    const controller = new AbortController();
    const aborted = run(hold, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
  });
});

describe("packages", () => {
  const listing = [
    "agent",
    "  Depends: libone",
    "  Depends: tool",
    "  PreDepends: <virtual>",
    "<virtual>",
    "libone",
    " |Depends: libtwo",
    "  Depends: libgone",
    "tool",
    "  Depends: libtool",
    "libtwo",
    "libtool",
  ].join("\n");

  test("what is wanted is found only by way of what is wanted", () => {
    assert.deepEqual(
      reachable(listing, ["agent"], (name) => name.startsWith("lib")),
      ["agent", "libone", "libtwo"],
    );
  });

  test("a cached folder is built once, and appears whole or not at all", async () => {
    await assert.rejects(
      cached("thing", async (building) => {
        await writeFile(join(building, "half"), "");
        throw new Error("killed");
      }),
      /killed/,
    );
    assert.deepEqual(await readdir(join(folder, "godwit-lab")), []);
    let builds = 0;
    const build = async (building: string): Promise<void> => {
      builds += 1;
      await writeFile(join(building, "whole"), "yes");
    };
    const path = await cached("thing", build);
    assert.equal(await cached("thing", build), path);
    assert.equal(await readFile(join(path, "whole"), "utf8"), "yes");
    assert.equal(builds, 1);
    assert.deepEqual(await readdir(join(folder, "godwit-lab")), ["thing"]);
  });

  test("what a killed process was building is removed by the next", async () => {
    const dead = join(folder, "godwit-lab", ".building-999999999-other");
    await writeFile(dead, "");
    await cached("other", async () => undefined);
    assert.deepEqual((await readdir(join(folder, "godwit-lab"))).sort(), ["other", "thing"]);
  });
});

describe("watching acknowledgements", () => {
  test("counts whole lines that are no remarks, and remembers the longest silence", async () => {
    const log = join(folder, "acks.log");
    await writeFile(log, "1 0e7aac46 500\n");
    await using watch = await watchAcknowledgements(log);
    const three = watch.next(3, { timeoutMs: 10_000 });
    await appendFile(log, "2 0e7aac46 501\n3 0e7");
    await appendFile(log, "aac46 502\n# start 0e7aac46 3\n4 0e7aac46 503\n");
    await three;
    const { acknowledged, longestGapMs, watchedMs } = watch.pauses();
    assert.equal(acknowledged, 3);
    assert.ok(longestGapMs <= watchedMs);
  });

  test("waiting ends with the deadline", async () => {
    const log = join(folder, "silent.log");
    await writeFile(log, "");
    await using watch = await watchAcknowledgements(log);
    await assert.rejects(watch.next(1, { timeoutMs: 20 }), { kind: "timeout" });
  });
});

test("the delaying proxy hands on every byte, not before its time, also to who has said all", async (t) => {
  const server = createServer((socket) => socket.pipe(socket));
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const target = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  await using proxy = await startDelayProxy({ target, delayMs: 40 });
  const started = performance.now();
  const client = connect(proxy.port, proxy.host);
  const sent = Buffer.alloc(300_000, "godwit ");
  client.end(sent);
  const received: Buffer[] = [];
  for await (const chunk of client) received.push(chunk as Buffer);
  assert.ok(performance.now() - started >= 79, "40 ms each way");
  assert.ok(Buffer.concat(received).equals(sent));
});
