import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HostView } from "../../src/model/host.ts";
import { chooseTransport, transportChecks, type TransportFacts } from "../../src/migration/transport.ts";
import type { MigrationInput } from "../../src/migration/index.ts";

const input = { vmId: "v", vm: "web", peerToPeer: false, autoConverge: false } as unknown as MigrationInput;
const MiB = 2 ** 20;
const facts: TransportFacts = {
  input,
  linkMbps: 100_000,
  streamBytesPerSecond: 2000 * MiB,
  pathBytesPerSecond: 2000 * MiB,
  dirtyBytesPerSecond: 10 * MiB,
  memoryBytes: 64 * 1024 * MiB,
  cpus: 32,
};

function said(changed: Partial<TransportFacts>, asked: Partial<MigrationInput> = {}): string {
  const {
    parallelConnections = 1,
    compression = "none",
    tls,
    reasons,
  } = chooseTransport({ ...facts, ...changed, input: { ...input, ...asked } });
  return `${parallelConnections} ${compression} ${tls}: ${reasons.map(({ text }) => text).join("; ")}`;
}

describe("how memory goes over the wire", () => {
  it("is chosen by the link and what one stream was seen to carry of it", () => {
    assert.match(said({}), /^6 none false: 6 streams: one stream carried 2000 MiB\/s of the link's 11921 MiB\/s/);
    assert.match(said({ cpus: 4 }), /^2 none/);
    assert.match(said({ cpus: 2 }), /^1 none false: one stream, for want of CPUs/);
    assert.match(said({ streamBytesPerSecond: 9000 * MiB }), /^1 none false: one stream: one stream carried 9000 MiB/);
    assert.match(said({ streamBytesPerSecond: undefined }), /^1 .*until it was measured/);
    assert.match(said({ linkMbps: 1000 }), /^1 .*one stream fills a link of 1000 Mbit\/s/);
    assert.match(said({ linkMbps: undefined }), /^1 .*is not told/);
    assert.match(said({ memoryBytes: 200 * MiB }), /^1 .*not worth it for 200 MiB/);
    assert.match(said({}, { policy: "post-copy" }), /^1 .*several exclude post-copy/);
  });

  it("goes as differences when memory changes as fast as the path carries it", () => {
    const slow = { linkMbps: 1000, pathBytesPerSecond: 100 * MiB };
    assert.match(
      said({ ...slow, dirtyBytesPerSecond: 90 * MiB }),
      /^1 xbzrle false: .*memory changes by 90 MiB\/s, and the path carries 100 MiB\/s/,
    );
    assert.match(said({ ...slow, dirtyBytesPerSecond: 20 * MiB }), /^1 none/);
    assert.match(said({ ...slow, dirtyBytesPerSecond: 90 * MiB }, { policy: "post-copy" }), /^1 none .*no page twice/);
    assert.match(said({ ...slow, dirtyBytesPerSecond: undefined }), /^1 none .*was not measured/);
  });

  it("is what was asked for, whatever was measured", () => {
    assert.match(said({}, { parallelConnections: 1 }), /^1 none false: one stream, as asked for/);
    assert.match(said({}, { parallelConnections: 3 }), /^3 none false: 3 streams, as asked for/);
    assert.match(
      said({ dirtyBytesPerSecond: 9000 * MiB, linkMbps: 1000 }, { compression: "none" }),
      /^1 none .*not compressed, as asked for/,
    );
    assert.match(said({}, { compression: "xbzrle", tls: true }), /^1 xbzrle true: .*encrypted, as asked for/);
  });

  const host = (name: string, libvirt = "9.0.0"): HostView => ({ name, facts: { versions: { libvirt } } }) as HostView;
  const checked = (asked: Partial<MigrationInput>, can = { certificates: true, locksMemory: true }, libvirt = "9.0.0"): string[] =>
    transportChecks({ ...input, ...asked }, [
      { host: host("alpha", libvirt), can: { certificates: true, locksMemory: true } },
      { host: host("bravo", libvirt), can },
    ]).map(({ verdict, text }) => `${verdict}: ${text}`);

  it("is refused when it excludes itself, or one of both hosts cannot, and never otherwise", () => {
    assert.deepEqual(checked({}), []);
    assert.deepEqual(checked({ tls: true, parallelConnections: 4 }), []);
    assert.deepEqual(checked({ zeroCopy: true, parallelConnections: 2 }), []);
    assert.match(checked({ zeroCopy: true }).join(), /^fail: zero-copy needs several streams$/);
    assert.match(checked({ zeroCopy: true, parallelConnections: 2, tls: true }).join(), /^fail: what is encrypted/);
    assert.match(checked({ parallelConnections: 2, policy: "post-copy" }).join(), /^fail: several streams exclude post-copy$/);
    assert.match(checked({ compression: "xbzrle", parallelConnections: 2 }).join(), /^fail: xbzrle excludes several streams$/);
    assert.match(
      checked({ compression: "zstd", parallelConnections: 2 }).join(),
      /^fail: libvirt 9\.0\.0 of alpha and libvirt 9\.0\.0 of bravo cannot compress with zstd$/,
    );
    assert.deepEqual(checked({ compression: "zstd", parallelConnections: 2 }, undefined, "10.0.0"), []);
    const no = { certificates: false, locksMemory: false };
    assert.match(checked({ tls: true }, no).join(), /^fail: bravo has no certificates for encrypted migration$/);
    assert.match(
      checked({ zeroCopy: true, parallelConnections: 2 }, no).join(),
      /^fail: libvirt on bravo may not let guests lock their memory/,
    );
  });
});
