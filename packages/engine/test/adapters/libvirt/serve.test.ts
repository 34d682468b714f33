import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { LibvirtError } from "@godwit/libvirt";
import { libvirtBackup } from "../../../src/adapters/libvirt/backup/index.ts";
import { libvirtRecovery } from "../../../src/adapters/libvirt/backup/recovery.ts";
import { openLocalShell } from "../../../src/adapters/ssh/index.ts";
import type { HypervisorHost } from "../../../src/index.ts";

const signal = AbortSignal.timeout(20_000);
const noDomain = { code: 42, domain: 0, level: 2, str1: null, str2: null, str3: null, int1: 0, int2: 0 };
const host = {
  connection: {
    remote: { domainLookupByUuid: () => Promise.reject(new LibvirtError("libvirt", "no such VM", {}, { remote: noDomain })) },
  },
} as unknown as HypervisorHost;

const mayWrite = process.getuid?.() === 0;

test("a server that has ended leaves its id, which may be any process's by then: that one is let be", { skip: !mayWrite }, async () => {
  await using shell = openLocalShell();
  const stranger = spawn("sleep", ["60"]);
  const key = randomUUID();
  try {
    await once(stranger, "spawn");
    const leave = async (): Promise<void> => {
      await mkdir(`/run/godwit-${key}`);
      await writeFile(`/run/godwit-${key}/vda.sock.pid`, `${stranger.pid}\n`);
    };
    await leave();
    await libvirtBackup(host, shell).end("v1", { hostId: "h", moment: key, checkpoint: "c" }, { forget: false, signal });
    assert.ok(!existsSync(`/run/godwit-${key}`));
    await leave();
    await libvirtRecovery(host, shell).closeImages(key, { signal });
    assert.ok(!existsSync(`/run/godwit-${key}`));
    assert.deepEqual([stranger.exitCode, stranger.signalCode], [null, null], "the stranger was ended");
  } finally {
    stranger.kill("SIGKILL");
    await rm(`/run/godwit-${key}`, { recursive: true, force: true });
  }
});
