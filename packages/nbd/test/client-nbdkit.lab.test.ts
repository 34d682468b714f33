import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { connectNbd, loadPskFile, NbdError, openNbdSource } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { pattern } from "./support/memory.ts";
import { Workshop } from "./support/processes.ts";

const MiB = 1 << 20;
const signal = new AbortController().signal;
let workshop: Workshop;

before(async () => {
  workshop = await Workshop.open();
});
after(async () => {
  await workshop[Symbol.asyncDispose]();
});

async function image(name: string, length = 4 * MiB): Promise<{ path: string; content: Uint8Array }> {
  const path = workshop.path(name);
  const content = pattern(length, 5);
  await writeFile(path, content);
  return { path, content };
}

describe("the client on nbdkit", () => {
  it("reads from servers that only know simple replies, or no GO", async () => {
    const { path, content } = await image("old");
    for (const args of [["--no-sr"], ["--mask-handshake=0"], ["--mask-handshake=1"]]) {
      await using client = await connectNbd(await workshop.nbdkit(...args, "file", path));
      assert.equal(client.info.replies, args[0] === "--mask-handshake=1" ? "structured" : "simple");
      const into = new Uint8Array(MiB);
      await client.read(777, into);
      assert.ok(Buffer.compare(into, content.subarray(777, 777 + MiB)) === 0);
    }
  });

  it("refuses the oldstyle handshake with a reason", async () => {
    const { path } = await image("oldstyle");
    await assert.rejects(connectNbd(await workshop.nbdkit("-o", "file", path)), { kind: "unsupported", reason: "refused" });
  });

  it("obeys block sizes: reads of parts of blocks are widened, writes of parts keep their neighbours", async () => {
    const { path, content } = await image("blocks");
    const policy = [
      "--filter=blocksize-policy",
      "blocksize-error-policy=error",
      "blocksize-minimum=4096",
      "blocksize-preferred=4096",
      "blocksize-maximum=65536",
    ];
    await using client = await connectNbd(await workshop.nbdkit("file", path, ...policy));
    assert.deepEqual(client.info.blockSize, { minimum: 4096, preferred: 4096, maximum: 65_536 });
    const into = new Uint8Array(200_001);
    await client.read(4095, into);
    assert.ok(Buffer.compare(into, content.subarray(4095, 4095 + into.length)) === 0);
    const model = content.slice();
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const data = pattern(1000 + index, index);
        model.set(data, 5000 + index * 1100);
        await client.write(5000 + index * 1100, data);
      }),
    );
    model.fill(0, 100_001, 150_001);
    await client.writeZeroes(100_001, 50_000);
    await client.trim(300_001, 10);
    const whole = new Uint8Array(model.length);
    await client.read(0, whole);
    assert.ok(Buffer.compare(whole, model) === 0);
  });

  it("fails a request with the server's error, and only that one", async () => {
    const { path, content } = await image("faulty");
    // Reads of an odd block fail: a plugin of shell script decides by offset.
    const read = `if [ $(($4 / 65536 % 2)) = 1 ]; then echo ENOSPC no luck >&2; exit 1; fi; dd if=${path} bs=4096 skip=$(($4 / 4096)) count=$(($3 / 4096)) status=none`;
    await using client = await connectNbd(await workshop.nbdkit("eval", "get_size=echo 4M", `pread=${read}`));
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, async (_, index) => {
        const into = new Uint8Array(65_536);
        await client.read(index * 65_536, into);
        assert.ok(Buffer.compare(into, content.subarray(index * 65_536, (index + 1) * 65_536)) === 0);
      }),
    );
    results.forEach((result, index) => {
      assert.equal(result.status, index % 2 === 0 ? "fulfilled" : "rejected");
      if (result.status === "rejected") {
        const error = result.reason as NbdError;
        assert.ok(error instanceof NbdError);
        assert.deepEqual([error.reason, error.errno, error.kind, error.context["offset"]], ["server", "ENOSPC", "io", index * 65_536]);
      }
    });
  });

  it("fails writes of a full disk with ENOSPC and what the server cannot do as unsupported", async () => {
    await using client = await connectNbd(await workshop.nbdkit("full", "1M"));
    await assert.rejects(client.write(0, pattern(4096)), { errno: "ENOSPC" });
    await using slow = await connectNbd(await workshop.nbdkit("--filter=nozero", "memory", "1M", "zeromode=none"));
    assert.equal(slow.info.canWriteZeroes, false);
    await slow.write(0, pattern(8192));
    await slow.writeZeroes(1, 8000);
    const into = new Uint8Array(8001);
    await slow.read(0, into);
    assert.ok(into.subarray(1).every((byte) => byte === 0) && into[0] !== 0);
    await assert.rejects(slow.writeZeroes(0, 4096, { fastZero: true }), { kind: "unsupported" });
  });

  it("has many requests under way at once", async () => {
    const { path } = await image("slow");
    await using client = await connectNbd(await workshop.nbdkit("--filter=delay", "file", path, "rdelay=500ms"));
    const started = performance.now();
    await Promise.all(Array.from({ length: 12 }, (_, index) => client.read(index * 4096, new Uint8Array(4096))));
    assert.ok(performance.now() - started < 12 * 500, "requests waited for each other");
  });

  it("gives up when the caller does, on a server that never answers, and in the handshake", async () => {
    const { path } = await image("never");
    const uri = await workshop.nbdkit("--filter=delay", "file", path, "rdelay=60");
    {
      await using client = await connectNbd(uri);
      await assert.rejects(client.read(0, new Uint8Array(4096), { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
      // The server's answer is still due; closing does not wait for it.
    }
    const slowOpen = await workshop.nbdkit("--filter=delay", "file", path, "delay-open=60");
    await assert.rejects(connectNbd(slowOpen, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  });

  it("reports a server that dies to all who wait, with the cause, and to later callers", async () => {
    const { path } = await image("dying");
    const uri = await workshop.nbdkit("--filter=delay", "file", path, "rdelay=60");
    await using client = await connectNbd(uri);
    const settled = Promise.allSettled([1, 2, 3].map((index) => client.read(index * 4096, new Uint8Array(4096))));
    await workshop.kill(uri);
    for (const result of await settled) {
      assert.ok(result.status === "rejected" && result.reason instanceof NbdError && result.reason.cause instanceof Error);
      assert.equal(result.reason.reason, "closed");
    }
    await assert.rejects(client.read(0, new Uint8Array(1)), { reason: "closed" });
  });

  it("uses fewer connections when the server takes no more", async () => {
    const { path, content } = await image("single");
    await using source = await openNbdSource(await workshop.nbdkit("--filter=multi-conn", "file", path, "multi-conn-mode=disable"), {
      connections: 4,
    });
    const into = new Uint8Array(content.length);
    await source.read(0, into, { signal });
    assert.equal(source.client.connections, 1);
    assert.ok(Buffer.compare(into, content) === 0);
  });
});

describe("TLS with nbdkit", () => {
  it("works with certificates over a Unix socket", async () => {
    const { path, content } = await image("x509");
    const pki = await makeCertificates(workshop);
    const uri = await workshop.nbdkit("--tls=require", "--tls-verify-peer", `--tls-certificates=${pki}`, "file", path);
    await using client = await connectNbd(`${uri.replace("nbd+unix", "nbds+unix")}&tls-certificates=${pki}`);
    const into = new Uint8Array(content.length);
    await client.read(0, into);
    assert.ok(Buffer.compare(into, content) === 0);
  });

  it("works with a pre-shared key, and not with a wrong one", async () => {
    const { path, content } = await image("psk");
    const keys = workshop.path("keys.psk");
    await workshop.run("psktool", "-u", "alice", "-p", keys);
    const uri = (await workshop.nbdkit("--tls=require", `--tls-psk=${keys}`, "file", path)).replace("nbd+unix://", "nbds+unix://");
    const [psk] = await loadPskFile(keys);
    await using client = await connectNbd(uri, { tls: { psk: psk! } });
    const into = new Uint8Array(MiB);
    await client.read(0, into);
    assert.ok(Buffer.compare(into, content.subarray(0, MiB)) === 0);
    await assert.rejects(connectNbd(uri, { tls: { psk: { identity: "alice", key: new Uint8Array(32) } } }), { reason: "tls" });
  });
});
