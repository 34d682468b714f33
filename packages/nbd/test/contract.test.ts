import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import type { BlockSource } from "@godwit/core";
import { type NbdServeOptions, openNbdSink, openNbdSource, openOverlay, openRawFile, serveNbd } from "../src/index.ts";
import { blockSinkContract, blockSourceContract } from "./support/contract.ts";
import { LendingDisk, MemoryDisk } from "./support/memory.ts";

const signal = new AbortController().signal;
let directory: string;
let count = 0;
const fresh = (): string => join(directory, `f${(count += 1)}`);

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "godwit-nbd-"));
});
after(async () => {
  await rm(directory, { recursive: true });
});

async function served(
  disk: MemoryDisk,
  options: Partial<NbdServeOptions["exports"][number]> = {},
): Promise<{ uri: string } & AsyncDisposable> {
  const server = await serveNbd({ exports: [{ name: "x", source: disk, ...options }], listen: { path: fresh() } });
  return { uri: server.uri(), [Symbol.asyncDispose]: () => server.close() };
}

/** A source that takes its server with it. */
function owning(source: BlockSource, ...others: readonly AsyncDisposable[]): BlockSource {
  return {
    size: source.size,
    extents: (options) => source.extents(options),
    read: (offset, into, options) => source.read(offset, into, options),
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      for (const other of others) await other[Symbol.asyncDispose]();
    },
  };
}

for (const replies of ["simple", "structured", "extended"] as const) {
  blockSourceContract(`our client on our server of a source that lends (${replies} replies)`, async (content) => {
    const disk = new LendingDisk(content);
    const server = await served(disk);
    const source = await openNbdSource(server.uri, { replies, connections: 2, requestSize: 64 << 10 });
    return owning(source, server, { [Symbol.asyncDispose]: async () => assert.equal(disk.lent, 0, "all is given back") });
  });

  for (const minimum of [1, 4096]) {
    blockSourceContract(`our client on our server (${replies} replies, blocks of ${minimum})`, async (content) => {
      const server = await served(new MemoryDisk(content), { blockSize: { minimum, preferred: 4096 } });
      return owning(await openNbdSource(server.uri, { replies, connections: 2, requestSize: 64 << 10 }), server);
    });

    blockSinkContract(`our client on our server (${replies} replies, blocks of ${minimum})`, async (content) => {
      const disk = new MemoryDisk(content);
      const server = await served(disk, { sink: disk, blockSize: { minimum, preferred: 4096 } });
      const sink = await openNbdSink(server.uri, { replies, connections: 2, requestSize: 64 << 10 });
      const close = async (): Promise<void> => {
        await sink[Symbol.asyncDispose]();
        await server[Symbol.asyncDispose]();
      };
      const peek = (): Promise<Uint8Array> => Promise.resolve(disk.bytes);
      return { sink: { ...sink, [Symbol.asyncDispose]: close }, peek };
    });
  }
}

blockSourceContract("a raw file", async (content) => {
  const path = fresh();
  await writeFile(path, content);
  return await openRawFile(path);
});

blockSourceContract("an overlay that holds nothing", (content) => openOverlay(new MemoryDisk(content), fresh()));

blockSourceContract("an overlay that holds everything", async (content) => {
  const overlay = await openOverlay(new MemoryDisk(content.length), fresh());
  await overlay.write(0, content, { signal });
  return overlay;
});

blockSinkContract("an overlay", async (content) => {
  const overlay = await openOverlay(new MemoryDisk(content), fresh());
  const peek = async (): Promise<Uint8Array> => {
    const into = new Uint8Array(overlay.size);
    await overlay.read(0, into, { signal });
    return into;
  };
  return { sink: overlay, peek };
});
