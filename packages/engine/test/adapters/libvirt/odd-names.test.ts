import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { libvirtBackup } from "../../../src/adapters/libvirt/backup/index.ts";
import { libvirtGuestFiles } from "../../../src/adapters/libvirt/backup/guest-files.ts";
import { guestProcess } from "../../../src/adapters/libvirt/migration/guest-process.ts";
import { openLocalShell } from "../../../src/adapters/ssh/index.ts";
import type { HostShell, HypervisorHost, Moment } from "../../../src/index.ts";

const signal = AbortSignal.timeout(20_000);
const mayWrite = process.getuid?.() === 0;

test("the channel for files is found where a VM's name is escaped in its definition", async () => {
  const xml =
    "<domain><devices><channel type='unix'><source mode='bind' path='/run/qemu/domain-1-R&amp;D &apos;2&apos;/org.godwit.files.j1'/>" +
    "<target type='virtio' name='org.godwit.files.j1' state='connected'/></channel></devices></domain>";
  const remote = {
    domainLookupByUuid: async () => ({ name: "R&D '2'", uuid: "v1", id: 1 }),
    domainAttachDeviceFlags: async () => undefined,
    domainGetXmlDesc: async () => xml,
  };
  const asked: string[] = [];
  const shell = { openUnixSocket: async (path: string) => (asked.push(path), assert.fail("nobody listens")) } as unknown as HostShell;
  const files = libvirtGuestFiles({ connection: { remote } } as unknown as HypervisorHost, shell);
  await assert.rejects(files.pack("v1", { id: "j1", paths: ["/etc"] }, async () => undefined, { signal }));
  assert.deepEqual(asked, ["/run/qemu/domain-1-R&D '2'/org.godwit.files.j1"]);
});

test("the room for scratch files is read also of a file system whose name has blanks", async () => {
  await using real = openLocalShell();
  const df = `df() { printf '%s\\n' 'Filesystem 1024-blocks Used Available Capacity Mounted on' 'nas:/my share   1000   600   400   60% /mnt'; }`;
  const shell = { run: ([sh = "", c = "", script = "", ...more]: string[]) => real.run([sh, c, `${df}\n${script}`, ...more], { signal }) };
  const backup = libvirtBackup({ connection: {} } as unknown as HypervisorHost, shell as unknown as HostShell);
  const moment = { scratch: { directory: "/mnt", freeBytes: 0 } } as unknown as Moment;
  assert.equal(await backup.scratchLeft(moment, { signal }), 400 * 1024);
});

test("the process of a VM is found whatever its name holds, and no other one", { skip: !mayWrite }, async () => {
  await using shell = openLocalShell();
  const names = ["[prod] web", "a, b", "back\\slash.*"].map((name) => `${name} ${randomUUID()}`);
  await mkdir("/run/libvirt/qemu", { recursive: true });
  for (const name of names) {
    const file = `/run/libvirt/qemu/${name}.pid`;
    const guest = spawn("sleep", ["60"], { argv0: `guest=${name.replaceAll(",", ",,")},debug-threads=on` });
    try {
      await once(guest, "spawn");
      await writeFile(file, String(guest.pid));
      const find = `${guestProcess}guest_process "$1" && echo "$pid"`;
      assert.equal((await shell.run(["/bin/sh", "-c", find, "sh", name], { signal })).stdout, `${guest.pid}\n`, name);
      await writeFile(file, String(process.pid));
      assert.equal((await shell.run(["/bin/sh", "-c", find, "sh", name], { signal })).stdout, "", name);
    } finally {
      guest.kill("SIGKILL");
      await rm(file, { force: true });
    }
  }
});
