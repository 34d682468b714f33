import assert from "node:assert/strict";
import { test } from "node:test";
import { openSsh, shellCommand } from "../src/ssh/index.ts";
import { startSshd } from "./ssh-fixture.ts";

test("a command runs with its words as they are, its input, both outputs and its code", async () => {
  await using sshd = await startSshd();
  await sshd.trust();
  await using session = await openSsh(sshd.options());
  assert.equal(session.description, `ssh://root@127.0.0.1:${sshd.port}`);
  const words = ["", "a b", "it's", "$HOME", "`id`", "*", "ä\n\\"];
  const result = await session.exec(["printf", "<%s>", ...words]);
  assert.deepEqual(result, { code: 0, signal: null, stdout: words.map((word) => `<${word}>`).join(""), stderr: "" });
  assert.equal(shellCommand(["a b"]), "'a b'");
  const failed = await session.exec("cat; echo no >&2; exit 7", { stdin: "input" });
  assert.deepEqual(failed, { code: 7, signal: null, stdout: "input", stderr: "no\n" });
});
