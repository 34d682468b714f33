import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { defaultBackupTraffic, type NetworkVerdict, planRoutes, type RouteFacts } from "../../src/index.ts";

const day = 86_400_000;
let folder = "";
let certificate = "";

const verdict = (id: string, rank?: number): NetworkVerdict => ({
  networkId: id,
  network: id,
  verdict: rank === undefined ? "out" : rank === 1 ? "chosen" : "fallback",
  reason: { code: "x", text: rank === undefined ? "out: the server has no address on it" : `rank ${rank}` },
  ...(rank !== undefined && { rank, sourceAddress: "10.0.0.9", destinationAddress: "10.0.0.1" }),
});

function plan(settings: Partial<RouteFacts["settings"]>, more: Partial<RouteFacts> = {}): string[] {
  const facts: RouteFacts = {
    host: { name: "alpha" },
    verdicts: [verdict("backup", 1), verdict("management", 2), verdict("migration")],
    settings: { ...defaultBackupTraffic, ...settings },
    names: ["alpha.example", "alpha"],
    now: Date.now(),
    ...more,
  };
  return planRoutes(facts).map(
    ({ view, route }) => `${view.kind} ${"tls" in route ? (route.tls?.hostname ?? "-") : "-"}: ${view.reason.text}`,
  );
}

describe("the ways of backup traffic", () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "godwit-routes-"));
    const names = "subjectAltName=DNS:alpha.example";
    const argv = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=alpha.example", "-addext", names];
    execFileSync("openssl", [...argv, "-keyout", join(folder, "key.pem"), "-out", join(folder, "cert.pem")], { stdio: "ignore" });
    certificate = readFileSync(join(folder, "cert.pem"), "utf8");
  });
  after(() => rmSync(folder, { recursive: true }));

  const tls = () => ({ directory: "/etc/pki/qemu", certificate });

  it("are the SSH session when neither TLS nor anything else is possible, with every reason", () => {
    assert.deepEqual(plan({}), [
      "ssh -: through the SSH session: backup is not used: the server was given no TLS credentials, and unencrypted it is not allowed; " +
        "management is not used: the server was given no TLS credentials, and unencrypted it is not allowed; migration is out: the server has no address on it",
    ]);
  });

  it("are unencrypted only where that is allowed", () => {
    assert.deepEqual(plan({ unencrypted: ["backup"] }), [
      "tcp -: over backup unencrypted, as the settings allow there, since the server was given no TLS credentials; rank 1",
      "ssh -: through the SSH session, when no network does it",
    ]);
  });

  it("are encrypted on every network, by the name that the certificate has, and never plain then", () => {
    assert.deepEqual(plan({ tlsDirectory: "/tls", unencrypted: ["backup"], otherwise: "refuse" }, { tls: tls() }), [
      "tls alpha.example: over backup with TLS, rank 1",
      "tls alpha.example: over management with TLS, rank 2",
    ]);
  });

  it("need no network on the server's own machine", () => {
    const here = { ...verdict("backup"), reason: { code: "same-host", text: "out: source and destination are the same host" } };
    assert.deepEqual(plan({ otherwise: "refuse" }, { verdicts: [here] }), ["ssh -: without any network: the server runs on alpha itself"]);
  });

  it("are refused when the settings want no SSH session and nothing is left", () => {
    const wanted = { tlsDirectory: "/tls", otherwise: "refuse" } as const;
    const why = (more: Partial<RouteFacts>): string => {
      try {
        return plan(wanted, more).join();
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.match(
      why({ tls: { missing: "there is no /etc/pki/qemu/server-cert.pem" } }),
      /refuse the SSH session: backup is not used: the host cannot do TLS: there is no/,
    );
    assert.match(why({ tls: tls(), names: ["bravo"] }), /made out to neither 10\.0\.0\.1 nor bravo/);
    assert.match(why({ tls: tls(), now: Date.now() + 3 * day }), /the host's certificate ended on/);
    assert.match(why({ tls: { ...tls(), certificate: "nonsense" } }), /cannot be read/);
    assert.match(why({ verdicts: [] }), /no network is known/);
  });
});
