import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readMachine } from "../../../src/adapters/libvirt/backup/machine.ts";
import type { LibvirtAccess } from "../../../src/adapters/libvirt/migration/access.ts";
import { openLocalShell } from "../../../src/adapters/ssh/index.ts";

const signal = AbortSignal.timeout(20_000);
const uuid = "6f1c1d7e-0000-4000-8000-00000000abcd";

/** A host that is this machine, with one VM. */
function hostOf(definition: string): LibvirtAccess {
  const remote = {
    domainLookupByUuid: () => Promise.resolve({ name: "a", uuid, id: -1 }),
    domainGetXmlDesc: () => Promise.resolve(definition),
  };
  return { connection: { remote } } as unknown as LibvirtAccess;
}

const vm = (devices: string, os = ""): string =>
  `<domain type='qemu'><name>a</name><uuid>${uuid}</uuid><memory>1</memory><os><type>hvm</type>${os}</os><devices>${devices}</devices></domain>`;

test("firmware variables go along, and of a TPM whose state cannot go along it is said", async () => {
  const folder = await mkdtemp(join(tmpdir(), "godwit-machine-"));
  await using shell = openLocalShell();
  try {
    const nvram = join(folder, "vars.fd");
    await writeFile(nvram, "variables");
    const read = (definition: string): ReturnType<typeof readMachine> => readMachine({ host: hostOf(definition), shell }, uuid, signal);
    const plain = await read(vm("", `<nvram>${nvram}</nvram>`));
    assert.deepEqual(
      plain.files.map(({ name, data }) => [name, Buffer.from(data).toString()]),
      [["nvram", "variables"]],
    );
    assert.deepEqual(plain.leftOut, []);
    const emulated = await read(vm("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"));
    assert.deepEqual([emulated.files, emulated.leftOut?.length], [[], 1]);
    assert.match(emulated.leftOut![0]!, /its TPM has no state below .*abcd .*: none is in the recovery point/);
    const passed = await read(vm("<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"));
    assert.match(passed.leftOut![0]!, /its TPM is the host's own/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
