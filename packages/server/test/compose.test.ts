import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import pino from "pino";
import { Composition } from "../src/compose.ts";
import { SqliteStore } from "../src/store/sqlite/store.ts";

test("what was decided about a host goes with it, for migrations and for backups", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-compose-"));
  try {
    await using store = await SqliteStore.open(join(folder, "godwit.db"));
    const id = "00000000-0000-4000-8000-000000000001";
    await store.hosts.put(id, { id, name: "alpha", uri: "qemu+unix:///system?socket=/nowhere", addedAt: "2026-01-01T00:00:00.000Z" });
    const settings = { useAnyNetwork: false, maximumLiveMigrations: 1, maximumStorageMigrations: 1, networks: [] };
    await store.hostMigration.put(id, settings);
    await store.hostBackup.put(id, settings);
    await using composition = new Composition({ store, log: pino({ level: "silent" }), doctor: { socket: "", stateDir: folder } });
    await composition.start();
    await composition.services.inventory.removeHost("alpha");
    assert.deepEqual([await store.hosts.list(), await store.hostMigration.list(), await store.hostBackup.list()], [[], [], []]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
