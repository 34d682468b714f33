import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatNbdUri, NbdError, parseNbdUri } from "../src/index.ts";

describe("NBD URIs", () => {
  for (const [uri, address, exportName, requireTls] of [
    ["nbd://example.com:10810/disk", { host: "example.com", port: 10_810 }, "disk", false],
    ["nbd://example.com", { host: "example.com", port: 10_809 }, "", false],
    ["nbd://example.com//disk", { host: "example.com", port: 10_809 }, "/disk", false],
    ["nbd://example.com/hello%20world", { host: "example.com", port: 10_809 }, "hello world", false],
    ["nbds://[::1]:7/x", { host: "::1", port: 7 }, "x", true],
    ["nbd+unix:///disk?socket=/run/a.sock", { path: "/run/a.sock" }, "disk", false],
    ["nbds+unix:///?socket=%00abstract", { path: "\0abstract" }, "", true],
  ] as const) {
    it(`reads ${uri}`, () => {
      const target = parseNbdUri(uri);
      assert.deepEqual([target.address, target.exportName, target.requireTls], [address, exportName, requireTls]);
    });
  }

  it("reads what belongs to TLS", () => {
    const uri = "nbds://bob@host/?tls-hostname=real&tls-verify-peer=0&tls-certificates=/etc/pki&tls-psk-file=/k&tls-type=psk";
    const tls = { hostname: "real", verifyPeer: false, username: "bob", certificates: "/etc/pki", pskFile: "/k" };
    assert.deepEqual(parseNbdUri(uri).tls, tls);
  });

  for (const uri of [
    "http://x/",
    "nonsense",
    "nbd+unix:///x",
    "nbd+unix://host/x?socket=/s",
    "nbd://h/x?socket=/s",
    "nbd://h/?frobnicate=1",
    "nbd://h/%zz",
    "nbd://h/%00",
    "nbd://h/?tls-verify-peer=yes",
    "nbd://h/#part",
    `nbd+unix:///?socket=/${"x".repeat(120)}`,
  ]) {
    it(`refuses ${uri.slice(0, 40)}`, () => {
      assert.throws(
        () => parseNbdUri(uri),
        (error) => error instanceof NbdError && error.reason === "usage",
      );
    });
  }

  it("reads back what it writes", () => {
    const name = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0") && text.isWellFormed());
    const path = fc.string({ minLength: 1, maxLength: 40 }).filter((text) => !text.slice(1).includes("\0"));
    const address = fc.oneof(
      path.map((path) => ({ path })),
      fc.record(
        { host: fc.constantFrom("a.example", "::1", "10.0.0.1"), port: fc.integer({ min: 1, max: 65_535 }) },
        { noNullPrototype: true },
      ),
    );
    fc.assert(
      fc.property(address, fc.oneof(name, fc.constantFrom("..", "a/../b")), fc.boolean(), (address, exportName, requireTls) => {
        const target = parseNbdUri(formatNbdUri({ address, exportName, requireTls }));
        assert.deepEqual({ ...target, address: { ...target.address } }, { address, exportName, requireTls, tls: {} });
      }),
    );
  });
});
