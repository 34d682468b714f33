import assert from "node:assert/strict";
import { open, readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { CancelledError } from "@godwit/core";
import {
  connectNbd,
  formatNbdUri,
  listNbdContexts,
  listNbdExports,
  loadTlsDirectory,
  NbdError,
  nbdExportInfo,
  openNbdSink,
  openNbdSource,
} from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { pattern } from "./support/memory.ts";
import { freePort, Workshop } from "./support/processes.ts";

const MiB = 1 << 20;
const signal = new AbortController().signal;
let workshop: Workshop;

before(async () => {
  workshop = await Workshop.open();
});
after(async () => {
  await workshop[Symbol.asyncDispose]();
});

/** 32 MiB: data at 0, 1 MiB and at 20 MiB, 100 KiB; holes elsewhere. */
async function sparseImage(name: string): Promise<{ path: string; content: Uint8Array }> {
  const content = new Uint8Array(32 * MiB);
  content.set(pattern(MiB, 1), 0);
  content.set(pattern(100 << 10, 2), 20 * MiB);
  const path = workshop.path(name);
  await using file = await open(path, "w");
  await file.truncate(content.length);
  await file.write(content.subarray(0, MiB), 0, MiB, 0);
  await file.write(content.subarray(20 * MiB, 20 * MiB + (100 << 10)), 0, 100 << 10, 20 * MiB);
  return { path, content };
}

describe("the client on qemu-nbd, raw", () => {
  it("reads the whole image over several connections, and its extents match", async () => {
    const { path, content } = await sparseImage("raw");
    await using source = await openNbdSource(await workshop.qemuNbd(path, "-r", "-f", "raw"), { connections: 3, requestSize: 128 << 10 });
    assert.equal(source.size, content.length);
    assert.deepEqual([source.client.info.replies, source.client.info.readOnly], ["structured", true]);
    const into = new Uint8Array(content.length);
    await source.read(0, into, { signal });
    assert.ok(Buffer.compare(into, content) === 0);
    const extents = await Array.fromAsync(source.extents({ signal }));
    assert.equal(extents.at(-1)!.offset + extents.at(-1)!.length, content.length);
    for (const { offset, length, kind } of extents) {
      if (kind === "zero") assert.ok(content.subarray(offset, offset + length).every((byte) => byte === 0));
    }
    assert.ok(extents.some(({ kind }) => kind === "zero"));
  });

  it("reads the same with simple replies", async () => {
    const { path, content } = await sparseImage("simple");
    await using client = await connectNbd(await workshop.qemuNbd(path, "-r", "-f", "raw"), { replies: "simple" });
    assert.deepEqual([client.info.replies, client.info.contexts.size], ["simple", 0]);
    const into = new Uint8Array(3 * MiB);
    await client.read(MiB / 2 + 1, into);
    assert.ok(Buffer.compare(into, content.subarray(MiB / 2 + 1, MiB / 2 + 1 + into.length)) === 0);
  });

  it("writes, zeroes, trims and flushes; the file holds it", async () => {
    const path = workshop.path("written");
    await writeFile(path, pattern(4 * MiB, 3));
    const uri = await workshop.qemuNbd(path, "-f", "raw", "--discard=unmap");
    {
      await using sink = await openNbdSink(uri, { requestSize: 64 << 10 });
      await sink.write(1000, pattern(300_000, 4), { signal });
      await sink.writeZeroes(2 * MiB, MiB, { signal });
      await sink.client.writeZeroes(3 * MiB, 4096, { noHole: true, fua: true });
      await sink.client.write(MiB, pattern(512, 9), { fua: true });
      await sink.client.trim(0, 512);
      await sink.client.cache(0, MiB);
      await sink.flush({ signal });
    }
    const content = await readFile(path);
    assert.ok(
      content
        .subarray(1000, MiB - 1)
        .subarray(0, 300_000)
        .equals(pattern(300_000, 4)),
    );
    assert.ok(content.subarray(MiB, MiB + 512).equals(pattern(512, 9)));
    assert.ok(content.subarray(2 * MiB, 3 * MiB + 4096).every((byte) => byte === 0));
    assert.ok(content.subarray(3 * MiB + 4096).equals(pattern(4 * MiB, 3).subarray(3 * MiB + 4096)));
  });

  it("names what is wrong: unknown export, read-only, out of range, nobody there", async () => {
    const { path } = await sparseImage("errors");
    const socket = workshop.socket();
    await workshop.serve(socket, "qemu-nbd", "-t", "-e", "8", "-r", "-f", "raw", "-x", "disk", "-D", "a disk", "-k", socket, path);
    const uri = (exportName: string): string => formatNbdUri({ address: { path: socket }, exportName });
    await assert.rejects(connectNbd(uri("other")), { reason: "unknown-export" });
    await assert.rejects(openNbdSink(uri("disk")), { kind: "unsupported", reason: "usage" });
    await using source = await openNbdSource(uri("disk"));
    const into = new Uint8Array(16).fill(7);
    await assert.rejects(source.read(source.size - 8, into, { signal }), { kind: "out-of-range" });
    assert.deepEqual(into, new Uint8Array(16).fill(7));
    await assert.rejects(connectNbd(`nbd+unix:///?socket=${workshop.path("nobody")}`), { reason: "connect" });
    assert.deepEqual(await listNbdExports(uri("")), [{ name: "disk", description: "a disk" }]);
    const info = await nbdExportInfo(uri("disk"));
    assert.deepEqual([info.size, info.readOnly, info.description], [source.size, true, "a disk"]);
  });
});

describe("the client on qemu-nbd, qcow2", () => {
  it("streams what changed since a dirty bitmap was made, zeros told apart", async () => {
    const image = workshop.path("dirty.qcow2");
    await workshop.run("qemu-img", "create", "-q", "-f", "qcow2", image, "64M");
    await workshop.run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 8M", image);
    await workshop.run("qemu-img", "bitmap", "--add", "-g", "64k", image, "bm");
    await workshop.run("qemu-io", "-f", "qcow2", "-c", "write -P 2 1M 64k", "-c", "write -P 3 20M 200k", "-c", "write -z 4M 128k", image);
    const uri = await workshop.qemuNbd(image, "-r", "-f", "qcow2", "-B", "bm", "-A");
    assert.deepEqual(await listNbdContexts(uri), ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:bm"]);
    assert.deepEqual(await listNbdContexts(uri, ["base:"]), ["base:allocation"]);
    await using source = await openNbdSource(uri, { dirtyBitmaps: ["bm"], contexts: ["qemu:allocation-depth"] });
    const changes = await Array.fromAsync(source.changes("bm", { signal }));
    assert.deepEqual(
      changes.filter(({ kind }) => kind !== "clean"),
      [
        { offset: MiB, length: 64 << 10, kind: "data" },
        { offset: 4 * MiB, length: 128 << 10, kind: "zero" },
        { offset: 20 * MiB, length: 256 << 10, kind: "data" },
      ],
    );
    assert.equal(
      changes.reduce((sum, { offset, length }) => (assert.equal(offset, sum), sum + length), 0),
      64 * MiB,
    );
    const depth = await Array.fromAsync(source.client.statuses("qemu:allocation-depth"));
    assert.deepEqual(depth[0], { offset: 0, length: 8 * MiB, status: 1 });
    await assert.rejects(openNbdSource(uri, { dirtyBitmaps: ["missing"] }), { kind: "unsupported", reason: "usage" });
  });

  it("walks a disk of many terabytes in little time", async () => {
    const image = workshop.path("huge.qcow2");
    await workshop.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", image, "8T");
    await workshop.run("qemu-io", "-f", "qcow2", "-c", `write -P 1 ${5 * 2 ** 40} 64k`, image);
    await using source = await openNbdSource(await workshop.qemuNbd(image, "-r", "-f", "qcow2"));
    const extents = await Array.fromAsync(source.extents({ signal }));
    const data = extents.filter(({ kind }) => kind === "data");
    assert.equal(data.length, 1);
    assert.equal(data[0]!.offset, 5 * 2 ** 40);
    assert.equal(extents.at(-1)!.offset + extents.at(-1)!.length, 8 * 2 ** 40);
  });
});

describe("cancelling", () => {
  it("leaves the connection in step: later reads are right", async () => {
    const { path, content } = await sparseImage("cancel");
    await using client = await connectNbd(await workshop.qemuNbd(path, "-r", "-f", "raw"), { requestSize: 64 << 10 });
    for (let round = 0; round < 30; round += 1) {
      const abort = new AbortController();
      const buffers = Array.from({ length: 8 }, () => new Uint8Array(256 << 10));
      const reads = buffers.map((into, index) => client.read(index * (64 << 10), into, { signal: abort.signal }));
      const settled = Promise.allSettled(reads);
      // Give up at ever later moments of the exchange.
      for (let turn = 0; turn < round; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      abort.abort(new CancelledError());
      for (const result of await settled) if (result.status === "rejected") assert.ok(result.reason instanceof CancelledError);
      for (const into of buffers) into.fill(0xee);
      const into = new Uint8Array(100_000);
      await client.read(12_345, into);
      assert.ok(Buffer.compare(into, content.subarray(12_345, 112_345)) === 0);
      assert.ok(
        buffers.every((buffer) => buffer.every((byte) => byte === 0xee)),
        "a cancelled read wrote to its buffer later",
      );
    }
  });
});

describe("TLS with qemu-nbd", () => {
  it("verifies the server, shows our certificate, and refuses strangers", async () => {
    const { path, content } = await sparseImage("tls");
    const [pki, stranger] = [await makeCertificates(workshop), await makeCertificates(workshop, "stranger")];
    const port = await freePort();
    const creds = `tls-creds-x509,id=tls0,endpoint=server,dir=${pki},verify-peer=on`;
    await workshop.serve(
      port,
      "qemu-nbd",
      "-t",
      "-e",
      "8",
      "-r",
      "-f",
      "raw",
      "-b",
      "127.0.0.1",
      "-p",
      String(port),
      "--object",
      creds,
      "--tls-creds",
      "tls0",
      path,
    );
    const uri = `nbds://localhost:${port}/`;
    const tls = await loadTlsDirectory(pki, "client");
    {
      await using source = await openNbdSource(uri, { tls, connections: 2 });
      const into = new Uint8Array(2 * MiB);
      await source.read(0, into, { signal });
      assert.ok(source.client.info.tls);
      assert.ok(Buffer.compare(into, content.subarray(0, into.length)) === 0);
    }
    await using byUri = await connectNbd(`${uri}?tls-certificates=${pki}`);
    assert.ok(byUri.info.tls);
    await assert.rejects(connectNbd(uri, { tls: await loadTlsDirectory(stranger, "client") }), { reason: "tls" });
    await assert.rejects(connectNbd(uri, { tls: { ...tls, hostname: "elsewhere.example" } }), { reason: "tls" });
    await assert.rejects(connectNbd(`nbd://localhost:${port}/`), { reason: "tls" });
    // A server that has no TLS is refused rather than talked to in plain text.
    const plain = await workshop.qemuNbd(path, "-r", "-f", "raw");
    await assert.rejects(
      connectNbd(plain.replace("nbd+unix", "nbds+unix")),
      (error) => error instanceof NbdError && /switch to TLS/.test(error.message),
    );
  });
});
