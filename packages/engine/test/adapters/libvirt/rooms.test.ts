import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lookAtHost } from "../../../src/adapters/libvirt/backup/rooms.ts";
import type { DiskXml } from "../../../src/adapters/libvirt/xml/index.ts";
import { openLocalShell } from "../../../src/adapters/ssh/index.ts";

const signal = AbortSignal.timeout(20_000);

test("one look tells versions of images, room beside them and ports that are taken", async () => {
  const folder = await mkdtemp(join(tmpdir(), "godwit\\note rooms-"));
  await using shell = openLocalShell();
  await using server = createServer();
  try {
    const disk = async (name: string, version: number): Promise<DiskXml> => {
      const path = join(folder, name);
      await writeFile(path, Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, version]));
      return { target: name, device: "disk", format: "qcow2", readOnly: false, transient: false, source: { path } } as unknown as DiskXml;
    };
    const gone = { target: "gone", device: "disk", format: "qcow2", source: { path: "/nowhere/else/x.qcow2" } } as unknown as DiskXml;
    const network = { target: "vdc", device: "disk", format: "raw", source: { protocol: "nbd" } } as unknown as DiskXml;
    const disks = [await disk("old image", 2), gone, network, await disk("new", 3)];
    await once(server.listen(0, "127.0.0.1"), "listening");
    const { versions, rooms } = await lookAtHost(shell, 99_999_999, disks, signal);
    assert.equal(versions.get(join(folder, "old image")), 2);
    assert.equal(versions.get(join(folder, "new")), 3);
    assert.deepEqual(
      rooms.folders.map(({ directory }) => directory),
      [folder],
    );
    assert.ok(rooms.folders[0]!.freeBytes > 0);
    assert.equal(rooms.own, undefined);
    assert.ok(rooms.listening.has((server.address() as AddressInfo).port));
    const off = await lookAtHost(shell, -1, disks, signal);
    assert.deepEqual([off.rooms.folders, off.versions.get(join(folder, "new"))], [[], 3]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
