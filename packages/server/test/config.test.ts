import assert from "node:assert/strict";
import { hostHeaders } from "../src/listen/tcp.ts";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ConfigError, readArguments, type ServerConfig } from "../src/config.ts";
import { listenTcp, readToken } from "../src/listen/tcp.ts";
import { listenUnix } from "../src/listen/unix.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-config-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function config(...args: string[]): ServerConfig {
  const read = readArguments(args, { XDG_RUNTIME_DIR: "/run/user/1" }, "1.2.3");
  assert.ok("run" in read);
  return read.run;
}

const refused =
  (pattern: RegExp) =>
  (error: unknown): boolean =>
    error instanceof ConfigError && pattern.test(error.message) && !error.message.includes("\n");

test("options give paths, addresses and levels", () => {
  const read = config("--socket", "/a/s", "--state-dir", "/b", "--listen", "127.0.0.1:8080", "--log-level", "debug");
  assert.deepEqual(read, {
    socket: "/a/s",
    stateDir: "/b",
    listen: { host: "127.0.0.1", port: 8080 },
    tokenFile: "/b/token",
    logLevel: "debug",
  });
  assert.deepEqual(config("--listen", "[::1]:0").listen, { host: "::1", port: 0 });
  assert.deepEqual(config("--listen", "localhost:9").listen, { host: "127.0.0.1", port: 9 });
  assert.equal(config().listen, undefined);
  assert.equal(config("--captures", "3").captures, 3);
  assert.equal(config("--recoveries", "5").recoveries, 5);
  assert.deepEqual(readArguments(["--version"], {}, "1.2.3"), { print: "1.2.3\n" });
});

test("what is wrong is one line with the way out", () => {
  assert.throws(() => config("--nope"), refused(/--nope.*--help/));
  assert.throws(() => config("--log-level", "loud"), refused(/must be one of debug, info, warn, error/));
  assert.throws(() => config("--listen", "8080"), refused(/HOST:PORT/));
  assert.throws(() => config("--recoveries", "none"), refused(/--recoveries wants .* from 1 to 1000/));
  for (const captures of ["0", "1.5", "many"]) assert.throws(() => config("--captures", captures), refused(/from 1 to 1000/));
  assert.throws(() => config("--listen", "127.0.0.1:70000"), refused(/HOST:PORT/));
  assert.throws(() => config("--token-file", "x"), refused(/only for --listen/));
  for (const open of ["0.0.0.0:80", "192.0.2.1:80", "[::]:80", "[::ffff:192.0.2.1]:80", "example.com:80"]) {
    assert.throws(() => config("--listen", open), refused(/no TLS yet.*ssh -L/), open);
  }
});

async function withServer(body: (server: Server) => Promise<void>): Promise<void> {
  const server = createHttpServer((_request, response) => response.end());
  try {
    await body(server);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test("the Unix socket is its owner's alone, from its first moment", async () => {
  const path = join(folder, "made", "s.sock");
  await withServer(async (server) => {
    await listenUnix(server, path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700);
    await withServer((second) => assert.rejects(listenUnix(second, path), refused(/a server answers .* already/)));
  });
});

test("the socket of a dead server is replaced; a file that is no socket is not", async () => {
  const path = join(folder, "stale.sock");
  const { execFileSync } = await import("node:child_process");
  const die = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  assert.throws(() => execFileSync(process.execPath, ["-e", die], { stdio: "ignore" }));
  assert.ok(statSync(path).isSocket(), "the dead one left its socket");
  await withServer((server) => listenUnix(server, path));
  const file = join(folder, "file");
  writeFileSync(file, "precious");
  await withServer((server) => assert.rejects(listenUnix(server, file), refused(/is no socket/)));
  assert.equal(readFileSync(file, "utf8"), "precious");
});

test("a socket path that the kernel cannot take, or a folder that cannot be made, is said so", async () => {
  await withServer((server) => assert.rejects(listenUnix(server, `/tmp/${"x".repeat(110)}`), refused(/longer than 107 bytes/)));
  await withServer((server) => assert.rejects(listenUnix(server, join(import.meta.filename, "s")), refused(/cannot listen on/)));
});

test("a token is made once, for its owner alone, and a weak one is refused", () => {
  const file = join(folder, "state", "token");
  const token = readToken(file);
  assert.equal(token.length, 43);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(readToken(file), token);
  writeFileSync(file, "short\n");
  assert.throws(() => readToken(file), refused(/at least 16 .*remove the file/));
});

test("a port that is taken is said so", async () => {
  await withServer(async (server) => {
    const [name] = await listenTcp(server, { host: "127.0.0.1", port: 0 });
    const port = Number(name?.split(":")[1]);
    await withServer((second) => assert.rejects(listenTcp(second, { host: "127.0.0.1", port }), refused(/cannot listen on 127.0.0.1/)));
  });
});

test("the names of a listener are what clients write into Host, which leave the usual port out", () => {
  assert.deepEqual(hostHeaders("::1", 8080), ["[::1]:8080", "localhost:8080"]);
  assert.deepEqual(hostHeaders("127.0.0.1", 80), ["127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost"]);
});
