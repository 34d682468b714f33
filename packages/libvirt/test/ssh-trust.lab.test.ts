import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { fetchHostKey, openSsh, type SshErrorKind, SshError, type SshOptions } from "../src/ssh/index.ts";
import { freePort, generateKey, run, startSshd, stopProcess, type TestSshd, waitForListener } from "./ssh-fixture.ts";

let sshd: TestSshd;
before(async () => {
  sshd = await startSshd();
});
after(() => sshd?.[Symbol.asyncDispose]());
beforeEach(() => writeFile(sshd.knownHosts, ""));

const sshError =
  (kind: SshErrorKind, says = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof SshError, String(error));
    assert.equal(error.kind, kind, error.message);
    assert.match(error.message, says);
    return true;
  };

async function works(options: SshOptions): Promise<void> {
  await using session = await openSsh(options);
  assert.equal((await session.exec(["echo", "ok"])).stdout, "ok\n");
}

const place = (): string => `[127.0.0.1]:${sshd.port}`;

test("an unknown host is an error that gives the fingerprint and the command to accept it", async () => {
  const fingerprint = (await run("ssh-keygen", ["-lf", join(sshd.dir, "host_ed25519.pub")])).stdout.split(" ")[1]!;
  await assert.rejects(openSsh(sshd.options()), (error: unknown) => {
    sshError("host-key-unknown", new RegExp(`ssh-keyscan -p ${sshd.port} -t ed25519 127.0.0.1 >> `))(error);
    assert.equal((error as SshError).context["fingerprint"], fingerprint);
    assert.ok((error as SshError).message.includes(fingerprint));
    // The command that the message gives is the way out.
    const [, command = ""] = /accept it: (.*)$/.exec((error as SshError).message) ?? [];
    return command !== "" && (accept = command) !== "";
  });
  await run("sh", ["-c", accept]);
  await works(sshd.options());
});
let accept = "";

test("known_hosts that ssh-keyscan -H wrote, a plain name for another port, and every key type", async () => {
  await run("sh", ["-c", `ssh-keyscan -H -p ${sshd.port} 127.0.0.1 2>/dev/null > ${sshd.knownHosts}`]);
  assert.match(await readFile(sshd.knownHosts, "utf8"), /^\|1\|/);
  await works(sshd.options());
  for (const type of ["ed25519", "rsa", "ecdsa"] as const) {
    await writeFile(sshd.knownHosts, `127.0.0.1 ${await sshd.hostKey(type)}\n`);
    await works(sshd.options());
  }
});

test("a changed key names file, line and both fingerprints", async () => {
  const other = join(sshd.dir, "other");
  await generateKey(other);
  const [type, key] = (await readFile(`${other}.pub`, "utf8")).split(" ");
  await writeFile(sshd.knownHosts, `# first line\n${place()} ${type} ${key}\n`);
  await assert.rejects(
    openSsh(sshd.options()),
    sshError("host-key-changed", new RegExp(`SHA256:.*SHA256:.* at ${sshd.knownHosts}:2\\).*ssh-keygen -R`)),
  );
  await rm(other);
});

test("a revoked key, and a host that only a certificate authority vouches for, are refused", async () => {
  await sshd.trust();
  await appendFile(sshd.knownHosts, `@revoked * ${await sshd.hostKey("ed25519")}\n`);
  await assert.rejects(openSsh(sshd.options()), sshError("host-key-revoked", /:2;/));
  await writeFile(sshd.knownHosts, `@cert-authority * ${await sshd.hostKey("rsa")}\n`);
  await assert.rejects(openSsh(sshd.options()), sshError("host-key-unknown", /we do not check host certificates/));
});

test("pinned fingerprints replace known_hosts; fetchHostKey is how to learn one", async () => {
  const key = await fetchHostKey(sshd.options());
  assert.equal(key.knownHostsLine, `${place()} ${await sshd.hostKey("ed25519")}`);
  await works(sshd.options({ hostKeys: [key.fingerprint] }));
  await assert.rejects(openSsh(sshd.options({ hostKeys: ["SHA256:other"] })), sshError("host-key-changed", /SHA256:other/));
  await appendFile(sshd.knownHosts, `${key.knownHostsLine}\n`);
  await works(sshd.options());
});

test("accept-new remembers an unknown key and refuses a changed one; ignore takes anything", async () => {
  await works(sshd.options({ hostKeyPolicy: "accept-new" }));
  await works(sshd.options());
  await writeFile(
    sshd.knownHosts,
    `${place()} ${(await readFile(join(sshd.env.home, ".ssh/id_ed25519.pub"), "utf8")).split(" ").slice(0, 2).join(" ")}\n`,
  );
  await assert.rejects(openSsh(sshd.options({ hostKeyPolicy: "accept-new" })), sshError("host-key-changed"));
  await works(sshd.options({ hostKeyPolicy: "ignore" }));
});

test("a refused login says what was tried", async () => {
  await sshd.trust();
  const stranger = join(sshd.dir, "stranger");
  await generateKey(stranger);
  await assert.rejects(
    openSsh(sshd.options({ keyFiles: [stranger] })),
    sshError("authentication", /stranger \(ssh-ed25519 SHA256:.*authorized_keys/),
  );
  await assert.rejects(openSsh(sshd.options({ methods: [] })), sshError("authentication", /nothing to try/));
  await assert.rejects(openSsh(sshd.options({ keyFiles: ["/nowhere"] })), sshError("config", /\/nowhere: does not exist/));
});

test("an encrypted key needs its passphrase", async () => {
  await sshd.trust();
  const key = join(sshd.dir, "encrypted");
  await copyFile(join(sshd.env.home, ".ssh/id_ed25519"), key);
  await run("ssh-keygen", ["-q", "-p", "-P", "", "-N", "open sesame", "-f", key]);
  await assert.rejects(openSsh(sshd.options({ keyFiles: [key] })), sshError("config", /encrypted; pass its passphrase/));
  await assert.rejects(openSsh(sshd.options({ keyFiles: [key], passphrase: "wrong" })), sshError("config", /does not open it/));
  await works(sshd.options({ keyFiles: [key], passphrase: "open sesame" }));
});

test("ssh-agent's keys are used; an agent that is gone is one way less", async () => {
  await sshd.trust();
  const agentSocket = join(sshd.dir, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", agentSocket], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    await once(agent.stdout, "data");
    await run("ssh-add", ["-q", join(sshd.env.home, ".ssh/id_ed25519")], { env: { ...process.env, SSH_AUTH_SOCK: agentSocket } });
    await works(sshd.options({ agentSocket, methods: ["agent"] }));
    await works(sshd.options({ env: { ...sshd.env, variables: { SSH_AUTH_SOCK: agentSocket } }, methods: ["agent"] }));
  } finally {
    await stopProcess(agent);
  }
  await works(sshd.options({ agentSocket }));
  await assert.rejects(openSsh(sshd.options({ agentSocket, methods: ["agent"] })), sshError("authentication", /agent /));
});

test("IdentitiesOnly keeps the agent's other keys to itself", async () => {
  await sshd.trust();
  const agentSocket = join(sshd.dir, "agent2.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", agentSocket], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    await once(agent.stdout, "data");
    await run("ssh-add", ["-q", join(sshd.env.home, ".ssh/id_ed25519")], { env: { ...process.env, SSH_AUTH_SOCK: agentSocket } });
    const config = join(sshd.dir, "identities");
    await writeFile(config, `Host *\n  IdentitiesOnly yes\n  IdentityFile ${sshd.dir}/nokey\n`);
    await assert.rejects(openSsh(sshd.options({ agentSocket, configFiles: [config] })), sshError("authentication"));
    await writeFile(config, `Host *\n  IdentitiesOnly yes\n  IdentityFile ~/.ssh/id_ed25519\n`);
    await works(sshd.options({ agentSocket, methods: ["agent"], configFiles: [config] }));
  } finally {
    await stopProcess(agent);
  }
});

test("an alias of ssh_config, and a way through jump hosts", async () => {
  await using inner = await startSshd();
  await inner.trust();
  await sshd.trust();
  await appendFile(sshd.knownHosts, await readFile(inner.knownHosts));
  await appendFile(join(inner.dir, "authorized_keys"), await readFile(join(sshd.dir, "authorized_keys")));
  const config = join(sshd.dir, "config");
  await writeFile(
    config,
    `Host gate\n  HostName 127.0.0.1\n  Port ${sshd.port}\nHost inner\n  HostName 127.0.0.1\n  Port ${inner.port}\n  User root\n  ProxyJump root@gate\nHost far\n  HostName 127.0.0.1\n  Port ${sshd.port}\n  ProxyJump gate,inner\n`,
  );
  const options: SshOptions = { host: "gate", env: sshd.env, configFiles: [config] };
  await works(options);
  const via = await openSsh({ ...options, host: "inner" });
  const { stdout } = await via.exec("echo $SSH_CONNECTION");
  assert.match(stdout, new RegExp(` 127.0.0.1 ${inner.port}\n$`));
  await via.close();
  await works({ ...options, host: "far" });
  await assert.rejects(openSsh({ ...options, host: "inner", jump: "root@127.0.0.1:1" }), sshError("connect"));
});

test("nobody there, not an SSH server, too late, cancelled", async () => {
  await assert.rejects(openSsh(sshd.options({ port: await freePort() })), sshError("connect", /was not reached/));
  const stop = new AbortController();
  stop.abort(new Error("enough"));
  await assert.rejects(openSsh(sshd.options({ signal: stop.signal })), /enough/);
  const port = await freePort();
  const silent = spawn("nc", ["-lk", "127.0.0.1", String(port)], { stdio: ["pipe", "ignore", "ignore"] });
  try {
    await waitForListener(port, () => undefined);
    await assert.rejects(openSsh(sshd.options({ port, connectTimeoutMs: 300 })), sshError("timeout"));
    const later = new AbortController();
    const opening = openSsh(sshd.options({ port, signal: later.signal }));
    later.abort(new Error("changed my mind"));
    await assert.rejects(opening, /changed my mind/);
  } finally {
    await stopProcess(silent);
  }
});
