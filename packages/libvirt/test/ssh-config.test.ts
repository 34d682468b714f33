import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { resolveTarget, SshError, type SshTarget } from "../src/ssh/index.ts";
import { parseJump } from "../src/ssh/jump.ts";
import type { Environment } from "../src/uri/index.ts";

async function withConfig(
  text: string,
  body: (env: Environment, resolve: (host: string) => SshTarget) => Promise<void> | void,
): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), "godwit-home-"));
  try {
    await mkdir(join(home, ".ssh"));
    const file = join(home, ".ssh/config");
    await writeFile(file, text);
    const env: Environment = { variables: { SSH_AUTH_SOCK: "/agent" }, home, userName: "me", uid: 1000 };
    await body(env, (host) => resolveTarget({ host, env, configFiles: [file] }));
  } finally {
    await rm(home, { recursive: true });
  }
}

test("without a config OpenSSH's defaults hold", () =>
  withConfig("", (env, resolve) => {
    const { keepalive: _keepalive, ...target } = resolve("host");
    assert.deepEqual(target, {
      name: "host",
      host: "host",
      port: 22,
      user: "me",
      knownAs: "host",
      methods: ["agent", "privkey"],
      keyFiles: ["id_rsa", "id_ecdsa", "id_ed25519"].map((name) => ({ path: join(env.home, ".ssh", name), required: false })),
      agentSocket: "/agent",
      identitiesOnly: false,
      knownHostsFiles: [
        join(env.home, ".ssh/known_hosts"),
        join(env.home, ".ssh/known_hosts2"),
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_known_hosts2",
      ],
      hostKeys: undefined,
      hostKeyPolicy: "strict",
      jump: undefined,
    });
  }));

test("aliases, patterns, tokens, quotes and the first value", () =>
  withConfig(
    `# comment
Host node-* !node-9
  HostName %h.example.com
  User=admin
  Port 2222
  IdentityFile ~/.ssh/%r-key   # trailing
  IdentityFile "/keys/with space"
  IdentitiesOnly yes
  UserKnownHostsFile ~/.ssh/lab_hosts /more
  GlobalKnownHostsFile none
  ProxyJump gate@bastion:2200,second
  HostKeyAlias lab
  IdentityAgent none
Match host other
  User matched
Match exec "true"
  User never
Host *
  User everybody
  Port 99
`,
    (env, resolve) => {
      const target = resolve("node-1");
      assert.equal(target.host, "node-1.example.com");
      assert.equal(target.user, "admin");
      assert.equal(target.port, 2222);
      assert.deepEqual(
        target.keyFiles.map(({ path }) => path),
        [join(env.home, ".ssh/admin-key"), "/keys/with space"],
      );
      assert.equal(target.identitiesOnly, true);
      assert.deepEqual(target.knownHostsFiles, [join(env.home, ".ssh/lab_hosts"), "/more"]);
      assert.equal(target.jump, "gate@bastion:2200,second");
      assert.equal(target.knownAs, "lab");
      assert.equal(target.agentSocket, undefined);
      assert.equal(resolve("node-9").user, "everybody");
      assert.equal(resolve("other").user, "matched");
      assert.equal(resolve("third").port, 99);
    },
  ));

test("Include reads further files; a circle is an error", () =>
  withConfig("Include extra*\nHost *\n  Port 5\n", async (env, resolve) => {
    await writeFile(join(env.home, ".ssh/extra1"), "Host a\n  Port 7\n");
    assert.equal(resolve("a").port, 7);
    await writeFile(join(env.home, ".ssh/extra2"), "Include extra2\n");
    assert.throws(() => resolve("a"), /include each other/);
  }));

test("options beat the config; what we cannot do is an error, not ignored", () =>
  withConfig("Host proxied\n  ProxyCommand nc %h %p\nHost bad\n  Port ssh\n", (env, resolve) => {
    assert.throws(
      () => resolve("proxied"),
      (error: unknown) => error instanceof SshError && error.kind === "config" && /ProxyJump/.test(error.message),
    );
    assert.throws(() => resolve("bad"), /port "ssh"/);
    const target = resolveTarget({
      host: "proxied",
      env,
      jump: false,
      user: "u",
      port: 1,
      keyFiles: ["~/k"],
      agentSocket: false,
      configFiles: [join(env.home, ".ssh/config-none")],
    });
    assert.deepEqual(
      [target.user, target.port, target.agentSocket, target.keyFiles],
      ["u", 1, undefined, [{ path: join(env.home, "k"), required: true }]],
    );
  }));

test("an open quote is an error with its place, as for ssh", () =>
  withConfig('Host a\n  User "x\n', (_env, resolve) => assert.throws(() => resolve("a"), /config:2: a quote/)));

test("jump hosts", () => {
  assert.deepEqual(parseJump("a,u@b:22,ssh://[::1]:2"), [
    { host: "a", port: undefined, user: undefined },
    { host: "b", port: 22, user: "u" },
    { host: "::1", port: 2, user: undefined },
  ]);
  assert.deepEqual(parseJump(undefined), []);
  for (const bad of ["a b", "a:0", "a:99999", ",", "u@"]) assert.throws(() => parseJump(bad), SshError, bad);
});
