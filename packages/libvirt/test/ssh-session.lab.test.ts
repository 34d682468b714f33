import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { raceAbort } from "@godwit/core";
import { openSsh, type SshErrorKind, SshError, type SshSession } from "../src/ssh/index.ts";
import { startSshd, type TestSshd } from "./ssh-fixture.ts";

let sshd: TestSshd;
let session: SshSession;
before(async () => {
  sshd = await startSshd();
  await sshd.trust();
  session = await openSsh(sshd.options());
});
after(async () => {
  await session?.close();
  await sshd?.[Symbol.asyncDispose]();
});

const sshError =
  (kind: SshErrorKind, says = /./) =>
  (error: unknown) =>
    error instanceof SshError && error.kind === kind && says.test(error.message);
const deadline = (): AbortSignal => AbortSignal.timeout(30_000);

test("a command runs with its words as they are, its input, both outputs and its code", async () => {
  assert.equal(session.description, `ssh://root@127.0.0.1:${sshd.port}`);
  const words = ["", "a b", "it's", "$HOME", "`id`", "*", "ä\n\\"];
  const result = await session.exec(["printf", "<%s>", ...words]);
  assert.deepEqual(result, { code: 0, signal: null, stdout: words.map((word) => `<${word}>`).join(""), stderr: "" });
  const failed = await session.exec("cat; echo no >&2; exit 7", { stdin: "input" });
  assert.deepEqual(failed, { code: 7, signal: null, stdout: "input", stderr: "no\n" });
  assert.deepEqual(await session.exec("kill -9 $$"), { code: null, signal: "SIGKILL", stdout: "", stderr: "" });
  const big = "x".repeat(500_000);
  assert.equal((await session.exec(["cat"], { stdin: big })).stdout, big);
});

test("hostile output is bounded, on either stream, and the session stays usable", async () => {
  await assert.rejects(session.exec("yes", { maxOutputBytes: 100_000 }), sshError("output-limit", /more than 100000 bytes/));
  await assert.rejects(session.exec("yes >&2", { maxOutputBytes: 100_000 }), sshError("output-limit"));
  const binary = await session.exec("head -c 1000 /dev/urandom; printf '\\0\\377'");
  assert.equal(binary.code, 0);
  assert.equal((await session.exec(["echo", "still here"])).stdout, "still here\n");
});

test("much goes through a process of the system's ssh, which trusts the verified key and ends with its use", async () => {
  const server = createServer((socket) => socket.pipe(socket));
  const path = join(sshd.dir, "echo.sock");
  await once(server.listen(path), "listening");
  try {
    const carrier = await session.carry(path, { signal: deadline() });
    assert.ok(carrier, "there is an ssh, and it can log in");
    const socket = connect(carrier.path);
    socket.end("x".repeat(1_000_000));
    assert.equal((await text(socket)).length, 1_000_000);
    await carrier[Symbol.asyncDispose]();
    await assert.rejects(once(connect(carrier.path), "connect"), /ENOENT/);
  } finally {
    server.close();
  }
});

test("a command that takes too long or is not wanted any more is dead, with its children, when the call returns", async () => {
  const mark = `godwit-${process.pid}`;
  const running = ["bash", "-c", `(exec -a ${mark} sleep 20) & wait; true`];
  const alive = async (): Promise<string> => (await session.exec(`pgrep -af '^${mark}'`)).stdout;
  await assert.rejects(session.exec(running, { timeoutMs: 1000 }), sshError("timeout", /after 1000 ms/));
  assert.equal(await alive(), "");
  const stop = new AbortController();
  const execution = assert.rejects(session.exec(running, { signal: stop.signal }), /not wanted/);
  while ((await alive()) === "") await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("not wanted"));
  await execution;
  assert.equal(await alive(), "");
});

test("thirty commands at once wait for their turn", async () => {
  const results = await Promise.all(Array.from({ length: 30 }, (_, index) => session.exec(["echo", String(index)])));
  assert.deepEqual(
    results.map(({ stdout }) => stdout.trim()),
    Array.from({ length: 30 }, (_, index) => String(index)),
  );
});

/** Echoes what it gets, then ends. */
async function echo(at: string | 0): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, (socket) => void socket.on("error", () => undefined).pipe(socket));
  await once(at === 0 ? server.listen(0, "127.0.0.1") : server.listen(at), "listening");
  return { port: at === 0 ? (server.address() as AddressInfo).port : 0, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("forwarded Unix and TCP sockets carry megabytes with back-pressure and half-close", async () => {
  const path = join(sshd.dir, "echo.sock");
  await using _unix = await echo(path);
  await using tcp = await echo(0);
  const payload = "0123456789abcdef".repeat(300_000);
  for (const stream of [await session.openUnixSocket(path), await session.openTcp("127.0.0.1", tcp.port)]) {
    stream.end(payload);
    assert.equal(await text(stream), payload);
  }
  await assert.rejects(session.openUnixSocket(join(sshd.dir, "nowhere")), sshError("channel", /refused to connect to the Unix socket/));
  const stop = AbortSignal.abort(new Error("no"));
  await assert.rejects(session.openUnixSocket(path, { signal: stop }), /no/);
});

test("a failing process destroys its stream with its stderr", async () => {
  const { stream, stderr } = await session.spawn("echo out; echo broken >&2; exit 3", { name: "proxy" });
  await assert.rejects(text(stream), sshError("remote", /proxy failed with exit code 3: broken/));
  assert.equal(stderr(), "broken");
  const fine = await session.spawn(["echo", "fine"]);
  assert.equal(await text(fine.stream), "fine\n");
});

test("close ends what is open, is idempotent, and the session says so", async () => {
  const own = await openSsh(sshd.options());
  const running = assert.rejects(own.exec(["sleep", "20"]), sshError("closed"));
  const { stream } = await own.spawn(["cat"]);
  const streamFailed = once(stream, "error", { signal: deadline() });
  await own.close();
  await own.close();
  assert.equal(await own.closed, undefined);
  await running;
  const [error] = (await streamFailed) as [unknown];
  assert.ok(sshError("closed", /was closed/)(error));
  await assert.rejects(own.exec(["true"]), sshError("closed"));
});

test("a killed sshd: the session, its streams and its commands end with the reason", async () => {
  const own = await openSsh(sshd.options());
  const { stdout } = await own.exec("echo $PPID");
  const running = assert.rejects(own.exec(["sleep", "20"]), sshError("closed"));
  const { stream } = await own.spawn(["cat"]);
  const streamFailed = once(stream, "error", { signal: deadline() });
  // The sshd process of this very connection.
  process.kill(Number(stdout), "SIGKILL");
  const reason = await own.closed;
  assert.ok(reason && sshError("closed", /connection was lost/)(reason));
  await running;
  const [error] = (await streamFailed) as [unknown];
  assert.ok(sshError("closed")(error));
  await own.close();
});

/** A TCP proxy that can stop passing anything on, as a dead link does. */
async function proxy(port: number): Promise<{ port: number; freeze(): void } & AsyncDisposable> {
  const pairs: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    pairs.push(near, far);
    near.on("error", () => undefined).pipe(far.on("error", () => undefined));
    far.pipe(near);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    freeze: () => pairs.forEach((socket) => socket.unpipe().pause()),
    async [Symbol.asyncDispose]() {
      for (const socket of pairs) socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("a half-open link is noticed in the set time, and close does not wait for it", async () => {
  await using link = await proxy(sshd.port);
  const options = sshd.options({ port: link.port, hostKeyPolicy: "ignore" });
  const own = await openSsh({ ...options, keepalive: { intervalMs: 100, count: 2 } });
  const running = assert.rejects(own.exec(["sleep", "20"]), sshError("closed"));
  link.freeze();
  // Without keepalive it would be TCP's retransmissions that notice, after a quarter of an hour.
  const reason = await raceAbort(own.closed, deadline());
  assert.ok(reason && sshError("closed")(reason) && /[Kk]eepalive/.test(String(reason.cause)));
  await running;
  await own.close();

  const deaf = await openSsh({ ...options, keepalive: { intervalMs: 60_000, count: 3 } });
  link.freeze();
  await raceAbort(deaf.close(), deadline());
});
