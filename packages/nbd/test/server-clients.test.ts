import assert from "node:assert/strict";
import { open, readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { loadPskFile, loadTlsDirectory, type NbdContext, openOverlay, openRawFile, serveNbd } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { MemoryDisk, pattern } from "./support/memory.ts";
import { Workshop } from "./support/processes.ts";

const MiB = 1 << 20;
let workshop: Workshop;

before(async () => {
  workshop = await Workshop.open();
});
after(async () => {
  await workshop[Symbol.asyncDispose]();
});

async function sparseImage(name: string): Promise<{ path: string; content: Uint8Array }> {
  const content = new Uint8Array(16 * MiB);
  content.set(pattern(MiB, 1), 2 * MiB);
  content.set(pattern(64 << 10, 2), 12 * MiB);
  const path = workshop.path(name);
  await using file = await open(path, "w");
  await file.truncate(content.length);
  await file.write(content, 2 * MiB, MiB, 2 * MiB);
  await file.write(content, 12 * MiB, 64 << 10, 12 * MiB);
  return { path, content };
}

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

describe("real clients on our server", () => {
  it("list and describe exports (nbdinfo)", async () => {
    const listen = { path: workshop.socket() };
    const exports = [
      { name: "disk", description: "the first", source: new MemoryDisk(pattern(MiB)) },
      { name: "ü €", source: new MemoryDisk(512), sink: new MemoryDisk(512), blockSize: { minimum: 512, preferred: 4096 } },
    ];
    await using server = await serveNbd({ exports, listen });
    const listed = JSON.parse(await workshop.run("nbdinfo", "--list", "--json", server.uri(""))) as { exports: Record<string, unknown>[] };
    const facts = listed.exports.map((each) => [
      each["export-name"],
      each["export-size"],
      each["is_read_only"],
      each["block_minimum"],
      each["can_fua"],
      each["can_multi_conn"],
    ]);
    assert.deepEqual(facts, [
      ["disk", MiB, true, 1, false, true],
      ["ü €", 512, false, 512, true, true],
    ]);
  });

  it("read the data and the map (nbdinfo, nbdcopy, qemu-img)", async () => {
    const { path, content } = await sparseImage("raw");
    await using raw = await openRawFile(path);
    await using server = await serveNbd({ exports: [{ name: "", source: raw }], listen: { path: workshop.socket() } });
    const map = JSON.parse(await workshop.run("nbdinfo", "--map", "--json", server.uri())) as MapEntry[];
    assert.deepEqual(
      map.map(({ offset, length, type }) => [offset / MiB, length / MiB, type]),
      [
        [0, 2, 3],
        [2, 1, 0],
        [3, 9, 3],
        [12, 1 / 16, 0],
        [12 + 1 / 16, 4 - 1 / 16, 3],
      ],
    );
    await workshop.run("nbdcopy", server.uri(), workshop.path("copy"));
    assert.ok((await readFile(workshop.path("copy"))).equals(content));
    assert.match(await workshop.run("qemu-img", "compare", "-f", "raw", "-F", "raw", path, server.uri()), /identical/);
    const qemuMap = JSON.parse(await workshop.run("qemu-img", "map", "--output=json", "-f", "raw", server.uri())) as {
      start: number;
      zero: boolean;
    }[];
    assert.deepEqual(
      qemuMap.map(({ start, zero }) => [start / MiB, zero]),
      [
        [0, true],
        [2, false],
        [3, true],
        [12, false],
        [12 + 1 / 16, true],
      ],
    );
    await workshop.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri(), workshop.path("copy.qcow2"));
    assert.match(await workshop.run("qemu-img", "compare", workshop.path("copy.qcow2"), server.uri()), /identical/);
  });

  it("write, zero, discard and flush (qemu-io), and copy in (nbdcopy, qemu-img)", async () => {
    const disk = new MemoryDisk(16 * MiB);
    await using server = await serveNbd({ exports: [{ name: "rw", source: disk, sink: disk }], listen: { host: "127.0.0.1", port: 0 } });
    const commands = [
      "write -P 7 1000 70000",
      "write -z 4M 1M",
      "write -P 9 8M 1M",
      "write -z -u 8M 64k",
      "discard 9M 64k",
      "write -f -P 3 0 512",
      "flush",
      "read -P 7 1000 70000",
    ];
    await workshop.run("qemu-io", "-f", "raw", ...commands.flatMap((command) => ["-c", command]), server.uri());
    assert.ok(disk.bytes.subarray(1000, 71_000).every((byte) => byte === 7));
    assert.ok(disk.bytes.subarray(8 * MiB, 8 * MiB + (64 << 10)).every((byte) => byte === 0));
    assert.ok(disk.bytes.subarray(8 * MiB + (64 << 10), 9 * MiB).every((byte) => byte === 9));
    assert.ok(disk.flushes >= 2);
    const { path, content } = await sparseImage("in");
    await workshop.run("nbdcopy", "--destination-is-zero", "--flush", path, server.uri()).catch(() => undefined);
    await workshop.run("nbdcopy", "--flush", path, server.uri());
    assert.ok(Buffer.compare(disk.bytes, content) === 0);
    disk.bytes.fill(0xaa);
    await workshop.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", path, server.uri());
    assert.ok(Buffer.compare(disk.bytes, content) === 0);
  });

  it("see further contexts, such as a dirty bitmap", async () => {
    const bitmap: NbdContext = {
      name: "qemu:dirty-bitmap:mine",
      async *statuses(offset, length) {
        for (let at = offset; at < offset + length;) {
          const end = Math.min(offset + length, (Math.floor(at / MiB) + 1) * MiB);
          yield { offset: at, length: end - at, status: Math.floor(at / MiB) % 2 };
          at = end;
        }
      },
    };
    const exports = [{ name: "d", source: new MemoryDisk(4 * MiB), contexts: [bitmap] }];
    await using server = await serveNbd({ exports, listen: { path: workshop.socket() } });
    const map = JSON.parse(await workshop.run("nbdinfo", "--map=qemu:dirty-bitmap:mine", "--json", server.uri())) as MapEntry[];
    assert.deepEqual(
      map.map(({ type }) => type),
      [0, 1, 0, 1],
    );
    const options = `driver=nbd,server.type=unix,server.path=${"path" in server.address ? server.address.path : ""},export=d,x-dirty-bitmap=qemu:dirty-bitmap:mine`;
    const qemu = JSON.parse(await workshop.run("qemu-img", "map", "--output=json", "--image-opts", options)) as { data: boolean }[];
    assert.equal(qemu.length, 4);
  });

  it("boot an overlay into a writable disk over a base that stays as it is", async () => {
    const base = new MemoryDisk(pattern(4 * MiB, 5));
    const before = base.bytes.slice();
    await using overlay = await openOverlay(base, workshop.path("overlay"));
    await using server = await serveNbd({ exports: [{ name: "vm", source: overlay, sink: overlay }], listen: { path: workshop.socket() } });
    await workshop.run(
      "qemu-io",
      "-f",
      "raw",
      "-c",
      "write -P 1 100k 300k",
      "-c",
      "write -z 1M 1M",
      "-c",
      "flush",
      "-c",
      "read -P 1 100k 300k",
      "-c",
      "read -P 0 1M 1M",
      server.uri(),
    );
    const copy = workshop.path("vm.raw");
    await workshop.run("nbdcopy", server.uri(), copy);
    const expected = before.slice();
    expected.fill(1, 100 << 10, 400 << 10);
    expected.fill(0, MiB, 2 * MiB);
    assert.ok((await readFile(copy)).equals(expected));
    assert.deepEqual(base.bytes, before);
  });
});

describe("TLS on our server", () => {
  it("is demanded, with certificates on both sides (nbdinfo)", async () => {
    const pki = await makeCertificates(workshop);
    const tls = { mode: "required" as const, ...(await loadTlsDirectory(pki, "server")) };
    const errors: Error[] = [];
    const exports = [{ name: "t", source: new MemoryDisk(pattern(MiB)) }];
    await using server = await serveNbd({
      exports,
      listen: { path: workshop.socket() },
      tls,
      onClientError: (error) => errors.push(error),
    });
    const uri = `${server.uri()}&tls-certificates=${pki}`;
    assert.match(server.uri(), /^nbds\+unix:/);
    assert.equal((await workshop.run("nbdinfo", "--size", uri)).trim(), String(MiB));
    await workshop.run("nbdcopy", uri, workshop.path("tls-copy"));
    assert.ok((await readFile(workshop.path("tls-copy"))).equals(pattern(MiB)));
    await assert.rejects(workshop.run("nbdinfo", "--size", server.uri().replace("nbds", "nbd")));
    // A client without a certificate of ours is turned away in the TLS handshake.
    const stranger = await makeCertificates(workshop, "stranger");
    await writeFile(`${stranger}/ca-cert.pem`, await readFile(`${pki}/ca-cert.pem`));
    await assert.rejects(workshop.run("nbdinfo", "--size", `${server.uri()}&tls-certificates=${stranger}`));
    assert.ok(errors.some((error) => /TLS handshake/.test(error.message)));
  });

  it("works with pre-shared keys, and is optional where it is only allowed (nbdinfo)", async () => {
    const keys = workshop.path("keys.psk");
    await workshop.run("psktool", "-u", "bob", "-p", keys);
    const tls = { mode: "allowed" as const, psk: await loadPskFile(keys) };
    await using server = await serveNbd({
      exports: [{ name: "p", source: new MemoryDisk(MiB) }],
      listen: { path: workshop.socket() },
      tls,
    });
    const uri = server.uri();
    assert.equal((await workshop.run("nbdinfo", "--size", uri)).trim(), String(MiB));
    const secure = uri.replace("nbd+unix://", "nbds+unix://bob@").concat(`&tls-psk-file=${keys}`);
    assert.match(await workshop.run("nbdinfo", secure), /with TLS/);
  });
});
