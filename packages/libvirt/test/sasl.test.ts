import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { authenticateSasl, type SaslCalls, SaslError, type SaslErrorKind } from "../src/sasl/index.ts";
import { saslPrep } from "../src/sasl/saslprep.ts";
import { Scram } from "../src/sasl/scram.ts";
import { plain } from "../src/sasl/simple.ts";

const text = (data: Uint8Array | null): string => Buffer.from(data ?? []).toString();
const saslError =
  (kind: SaslErrorKind, says = /./) =>
  (error: unknown) =>
    error instanceof SaslError && error.kind === kind && says.test(error.message);

const vectors = [
  {
    name: "RFC 5802, 5: SCRAM-SHA-1",
    hash: "sha1",
    nonce: "fyko+d2lbbFgONRv9qkxdawL",
    first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    challenge: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    proof: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
  },
  {
    name: "RFC 7677, 3: SCRAM-SHA-256",
    hash: "sha256",
    nonce: "rOprNGfwEbeRWgbNEkqO",
    first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    challenge: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    proof: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
  },
] as const;

for (const { name, hash, nonce, first, challenge, proof, final } of vectors) {
  test(`${name} gives the messages of the RFC and believes only the right server`, async () => {
    const scram = new Scram(hash, { username: "user", password: "pencil" }, nonce);
    assert.equal(text(scram.first()), first);
    assert.equal(text(await scram.next(Buffer.from(challenge))), proof);
    assert.equal(scram.satisfied, false);
    assert.equal(await scram.next(Buffer.from(final)), null);
    assert.equal(scram.satisfied, true);
    await assert.rejects(scram.next(Buffer.from(final)), saslError("protocol"));

    const fooled = new Scram(hash, { username: "user", password: "pencil" }, nonce);
    await fooled.next(Buffer.from(challenge));
    await assert.rejects(fooled.next(Buffer.from(final.replace("v=r", "v=s").replace("v=6", "v=7"))), saslError("server", /who answers/));
    assert.equal(fooled.satisfied, false);
    const refused = new Scram(hash, { username: "user", password: "pencil" }, nonce);
    await refused.next(Buffer.from(challenge));
    await assert.rejects(refused.next(Buffer.from("e=invalid-proof")), saslError("rejected", /invalid-proof/));
  });
}

test("SCRAM refuses what a hostile server may ask", async () => {
  const cases = [
    "",
    "r=other,s=QSXC,i=4096",
    "r=nonce,s=QSXC,i=4096",
    "r=nonceX,s=,i=4096",
    "r=nonceX,s=QSXC,i=1",
    "r=nonceX,s=QSXC,i=4095",
    "r=nonceX,s=QSXC,i=1000001",
    "r=nonceX,s=QSXC,i=99999999999999999999",
    "m=must,r=nonceX,s=QSXC,i=4096",
    `r=nonceX,s=${"A".repeat(2000)},i=4096`,
    `r=nonceX${"y".repeat(9000)},s=QSXC,i=4096`,
  ];
  for (const challenge of cases) {
    const scram = new Scram("sha256", { username: "u", password: "p" }, "nonce");
    await assert.rejects(scram.next(Buffer.from(challenge)), saslError("protocol"), challenge);
  }
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (challenge) => {
      await assert.rejects(new Scram("sha256", { username: "u", password: "p" }, "nonce").next(challenge), SaslError);
    }),
  );
});

test("names are escaped, and prepared as RFC 4013 says", () => {
  assert.equal(text(new Scram("sha256", { username: "a=b,c", password: "p", actAs: "x,y" }, "n").first()), "n,a=x=2Cy,n=a=3Db=2Cc,r=n");
  // The examples of RFC 4013, 3.
  assert.equal(saslPrep("I\u00ADX", "x"), "IX");
  assert.equal(saslPrep("user", "x"), "user");
  assert.equal(saslPrep("USER", "x"), "USER");
  assert.equal(saslPrep("\u00AA", "x"), "a");
  assert.equal(saslPrep("\u2168", "x"), "IX");
  assert.throws(() => saslPrep("\u0007", "x"), saslError("credentials"));
  assert.throws(() => saslPrep("\u0627\u0031", "x"), saslError("credentials"));
  assert.equal(saslPrep("a\u00A0b", "x"), "a b");
  assert.throws(() => saslPrep("\u00AD", "x"), saslError("credentials", /empty/));
  assert.throws(() => saslPrep("\u{E0041}", "x"), saslError("credentials"));
});

test("PLAIN is RFC 4616's message", async () => {
  assert.equal(text(plain({ username: "tim", password: "tanstaaftanstaaf" }).first()), "\0tim\0tanstaaftanstaaf");
  assert.throws(() => plain({ username: "a\0b", password: "p" }), saslError("credentials", /NUL/));
  await assert.rejects(plain({ username: "a", password: "p" }).next(Buffer.from("more")), saslError("protocol"));
});

/** A daemon that follows a script; what it was told is in `heard`. */
function scripted(offered: string, answers: { complete: number; nil?: number; data?: string }[]): SaslCalls & { heard: string[] } {
  const heard: string[] = [];
  const next = async (): Promise<{ complete: number; nil: number; data: Uint8Array }> => {
    const answer = answers.shift() ?? { complete: 0, data: "" };
    return { complete: answer.complete, nil: answer.nil ?? (answer.data === undefined ? 1 : 0), data: Buffer.from(answer.data ?? "") };
  };
  return {
    heard,
    authSaslInit: async () => offered,
    authSaslStart: async ({ mech, nil, data }) => (heard.push(`${mech} ${nil} ${text(data)}`), next()),
    authSaslStep: async ({ nil, data }) => (heard.push(`step ${nil} ${text(data)}`), next()),
  };
}

const credentials = { username: "u", password: "p" };

test("the mechanism is the strongest that both sides have; a daemon with none of ours is told by name", async () => {
  const calls = scripted("DIGEST-MD5 PLAIN", [{ complete: 1 }]);
  await authenticateSasl(calls, { secure: true, credentials });
  assert.deepEqual(calls.heard, ["PLAIN 0 \0u\0p"]);
  await assert.rejects(
    authenticateSasl(scripted("GSSAPI DIGEST-MD5", []), { secure: true, credentials }),
    saslError("mechanism", /GSSAPI, DIGEST-MD5.*SCRAM-SHA-256.*mech_list/),
  );
  await assert.rejects(
    authenticateSasl(scripted("PLAIN", []), { secure: true, credentials, mechanisms: ["SCRAM-SHA-256"] }),
    saslError("mechanism"),
  );
  await assert.rejects(authenticateSasl(scripted("ANONYMOUS EXTERNAL", []), { secure: true, credentials }), saslError("mechanism"));
  const anonymous = scripted("ANONYMOUS", [{ complete: 1 }]);
  await authenticateSasl(anonymous, { secure: true, mechanisms: ["ANONYMOUS"] });
  assert.deepEqual(anonymous.heard, ["ANONYMOUS 0 godwit"]);
});

test("on a channel that others can read nothing is sent", async () => {
  const calls = scripted("PLAIN", [{ complete: 1 }]);
  await assert.rejects(authenticateSasl(calls, { secure: false, credentials }), saslError("insecure", /\+tls, \+ssh/));
  assert.deepEqual(calls.heard, []);
});

test("a server that says complete without having proved itself is not believed", async () => {
  await assert.rejects(
    authenticateSasl(scripted("SCRAM-SHA-256", [{ complete: 1 }]), { secure: true, credentials }),
    saslError("server", /before it proved/),
  );
  await assert.rejects(authenticateSasl(scripted("PLAIN", []), { secure: true, credentials }), saslError("protocol", /come to an end/));
  await assert.rejects(authenticateSasl(scripted("PLAIN", []), { secure: true }), saslError("credentials", /give credentials/));
});
