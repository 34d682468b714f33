import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { fingerprint, KnownHosts, parseKnownHosts, shellQuote } from "../src/ssh/index.ts";
import { matchesHosts } from "../src/ssh/known-hosts.ts";
import { run } from "./ssh-fixture.ts";

function blob(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(body)]);
}

const first = blob("ssh-ed25519", "first");
const second = blob("ssh-ed25519", "second");
const rsa = blob("ssh-rsa", "third");
const line = (hosts: string, key: Buffer): string =>
  `${hosts} ${key.toString("latin1", 4, 4 + key.readUInt32BE(0))} ${key.toString("base64")} comment`;
const known = (...lines: string[]): KnownHosts => new KnownHosts(["f"], parseKnownHosts(lines.join("\n"), "f"));

test("a host is known under its name, its port, a pattern or several names", () => {
  for (const hosts of ["host", "other,host", "h?st", "*.example,ho*", "HOST"])
    assert.equal(known(line(hosts, first)).check("host", 22, first).kind, "known", hosts);
  assert.equal(known(line("[host]:2222", first)).check("host", 2222, first).kind, "known");
  assert.equal(known(line("host", first)).check("host", 2222, first).kind, "known", "as OpenSSH does");
  assert.equal(known(line("[host]:2222", first)).check("host", 22, first).kind, "unknown");
  assert.equal(known(line("*,!host", first)).check("host", 22, first).kind, "unknown");
  assert.equal(known(line("host", first)).check("other", 22, first).kind, "unknown");
});

test("another key is changed, with the lines that say so; a second type is as good as the first", () => {
  const hosts = known("# comment", line("host", first), line("host", rsa));
  assert.equal(hosts.check("host", 22, rsa).kind, "known");
  const verdict = hosts.check("host", 22, second);
  assert.deepEqual(verdict.kind === "changed" && verdict.lines.map(({ file, line }) => `${file}:${line}`), ["f:2", "f:3"]);
  assert.deepEqual(hosts.keyTypes("host", 22), ["ssh-ed25519", "ssh-rsa"]);
  // The plain name's key is another host's when the port has one of its own.
  assert.equal(known(line("host", second), line("[host]:2222", first)).check("host", 2222, rsa).kind, "changed");
});

test("@revoked beats everything; @cert-authority trusts no plain key; other markers and broken lines are passed over", () => {
  assert.equal(known(line("host", first), `@revoked ${line("*", first)}`).check("host", 22, first).kind, "revoked");
  const verdict = known(`@cert-authority ${line("*.example", first)}`).check("a.example", 22, first);
  assert.equal(verdict.kind === "unknown" && verdict.authorities.length, 1);
  assert.equal(
    known(
      `@novelty ${line("host", first)}`,
      "host",
      "host ssh-ed25519",
      "host ssh-ed25519 !!!",
      `host ssh-rsa ${first.toString("base64")}`,
    ).check("host", 22, first).kind,
    "unknown",
  );
});

test("hashed names, as ssh-keygen -H writes them", () => {
  const salt = Buffer.from("a salt of twenty byte");
  const name = "[host]:2222";
  const hashed = `|1|${salt.toString("base64")}|`;
  assert.equal(matchesHosts(hashed + createHmac("sha1", salt).update(name).digest("base64"), name), true);
  assert.equal(matchesHosts(`${hashed}bm90IHRoZSBoYXNo`, name), false);
  assert.equal(matchesHosts("|2|x|y", name), false);
  assert.equal(matchesHosts("|1||", name), false);
});

test("hostile files and patterns cost little and throw nothing", () => {
  const slow = `${"*a".repeat(500)}b`;
  assert.equal(matchesHosts(slow, "a".repeat(2000)), false);
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => void known(text).check("host", 22, first)));
});

test("fingerprints are those of ssh-keygen", () => {
  assert.match(fingerprint(first), /^SHA256:[A-Za-z0-9+/]{43}$/);
});

test("a quoted word is that word to a real shell", async () => {
  const words = ["", "a b", "it's", "$HOME", "`id`", "\\", "!", "a\nb", "-n", "ä", "'''", "*"];
  const { stdout } = await run("sh", ["-c", `printf '<%s>' ${words.map(shellQuote).join(" ")}`]);
  assert.equal(stdout, words.map((word) => `<${word}>`).join(""));
  assert.throws(() => shellQuote("a\0b"), /NUL/);
});
