import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { CaptureResult, RecoverResult, RecoveryPoint } from "@godwit/api";
import { pointTable } from "../src/commands/protection.ts";
import { captureTable } from "../src/capture-table.ts";
import { runCommand } from "../src/index.ts";
import { recoverTable } from "../src/recover-table.ts";

const captured: CaptureResult = {
  outcome: "captured",
  vmId: "v1",
  vm: "web",
  host: "alpha",
  vaultId: "a",
  vault: "main",
  pointId: "0123456789abcdef",
  at: "2026-01-01T00:00:00.000Z",
  consistency: "filesystem",
  evidence: ["1 file systems were held still"],
  frozenMs: 120,
  disks: [
    {
      target: "vda",
      mode: "incremental",
      reason: { code: "tracked", text: "vda: only what changed is read" },
      sizeBytes: 2 ** 30,
      readBytes: 2 ** 20,
    },
  ],
  readBytes: 2 ** 20,
  storedBytes: 2 ** 19,
  newChunks: 16,
  adoptedPacks: 0,
  guest: { writeBeforeMs: 2, writeMs: 5, slowedTo: 10 * 2 ** 20 },
  totalMs: 900,
};

const recovered: RecoverResult = {
  outcome: "recovered",
  mode: "replace",
  pointId: "0123456789abcdef",
  vault: "main",
  at: "2026-01-01T00:00:00.000Z",
  vmId: "v1",
  vm: "web",
  host: "alpha",
  disks: [{ target: "vda", path: "/pool/new.qcow2", sizeBytes: 2 ** 30, writtenBytes: 2 ** 20, keptBytes: 0 }],
  keptAside: ["/pool/old.qcow2"],
  started: true,
  tracking: { code: "tracked", text: "the next capture reads only what changes" },
  totalMs: 900,
};

const job = {
  id: "j1",
  kind: "vm.capture",
  title: "capture web into main",
  subject: { type: "vm", id: "v1", name: "web" },
  state: "queued",
  createdAt: "2026-01-01T00:00:00.000Z",
  waitingFor: [],
  steps: [],
  reasons: [],
  log: [],
  input: {},
};

const group = {
  id: "g1",
  name: "gold",
  vaultId: "a",
  vault: "main",
  members: { tags: ["db"] },
  schedule: { cron: ["0 1 * * *"], timeZone: "Europe/Vienna", windows: [{ from: "22:00", to: "06:00" }] },
  retention: { last: 7 },
  limits: { perHost: 2, perVault: 4 },
  retry: { times: 1, delayMinutes: 30 },
  onMigration: "park",
  atLeast: "crash",
  paused: false,
  createdAt: "2026-01-01T00:00:00.000Z",
  statuses: [],
};

describe("what a capture or recovery came to", () => {
  it("is said with what was read, stored and why", () => {
    const text = captureTable(captured);
    for (const part of [
      "0123456789ab in main",
      "filesystem: 1 file systems",
      "120 ms",
      "512 KiB",
      "incremental",
      "only what changed",
      "slowed to 10.0 MiB/s",
    ])
      assert.ok(text.includes(part), `${part} is not in:\n${text}`);
  });

  it("names both jobs of a parked one", () => {
    const text = captureTable({ outcome: "parked", vmId: "v1", vm: "web", for: { id: "m1", title: "migrate web" }, continuedBy: "c2" });
    assert.match(text, /parked for job m1 .* job c2 goes on/);
  });

  it("says every reason of a point on a line of its own", () => {
    const point = {
      id: "p1",
      vm: "web",
      disks: [],
      evidence: [],
      reasons: ["vda is new", "vdb\u001b[2J\nis raw"],
    } as unknown as RecoveryPoint;
    assert.match(pointTable(point), /\nwhy: +vda is new\n {2}vdb�\[2J�is raw\n$/);
  });

  it("names the images that were kept aside", () => {
    const text = recoverTable(recovered);
    for (const part of ["in place of the old one, started", "/pool/old.qcow2", "/pool/new.qcow2", "only what changes"])
      assert.ok(text.includes(part), text);
  });
});

describe("the commands of protection", () => {
  let folder: string;
  let server: Server;
  let asked: { line: string; body: string }[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-cli-"));
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        asked.push({ line: `${request.method} ${request.url}`, body });
        response.writeHead(202, { "content-type": "application/json" });
        response.end(JSON.stringify(request.url?.startsWith("/api/v1/protection-groups/") ? group : job));
      });
    });
    await new Promise<void>((resolve) => server.listen(join(folder, "sock"), resolve));
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });

  async function godwit(...args: readonly string[]): Promise<{ code: number; out: string; body: unknown; line: string | undefined }> {
    asked = [];
    let out = "";
    const terminal = { isTerminal: false, columns: 80, write: (text: string) => void (out += text) };
    const { signal } = new AbortController();
    const code = await runCommand(["--server", join(folder, "sock"), ...args], {
      env: {},
      version: "1",
      signal,
      out: terminal,
      err: terminal,
    });
    const [first] = asked;
    return { code, out, line: first?.line, body: first && first.body !== "" ? JSON.parse(first.body) : undefined };
  }

  it("ask for a capture", async () => {
    const { code, out, line, body } = await godwit(
      "protect",
      "web",
      "--vault",
      "main",
      "--bandwidth",
      "10M",
      "--on-migration",
      "finish",
      "--no-wait",
    );
    assert.deepEqual([code, out, line], [0, "j1\n", "POST /api/v1/vms/web/capture"]);
    assert.deepEqual(body, { vault: "main", onMigration: "finish", atLeast: "crash", bandwidthBytesPerSecond: 10 * 2 ** 20 });
  });

  it("change of a group what is given, and nothing beside it", async () => {
    const edited = async (...flags: readonly string[]): Promise<unknown> => {
      await godwit("group", "edit", "gold", ...flags);
      return JSON.parse(asked.find(({ line }) => line === "PATCH /api/v1/protection-groups/g1")?.body ?? "null");
    };
    const windows = group.schedule.windows;
    assert.deepEqual(await edited("--time-zone", "UTC"), { schedule: { ...group.schedule, timeZone: "UTC" } });
    assert.deepEqual(await edited("--window", "none"), { schedule: { cron: ["0 1 * * *"], timeZone: "Europe/Vienna" } });
    assert.deepEqual(await edited("--every", "60"), { schedule: { everyMinutes: 60, timeZone: "Europe/Vienna", windows } });
    assert.deepEqual(await edited("--cron", "none"), { schedule: { timeZone: "Europe/Vienna", windows } });
    assert.deepEqual(await edited("--vm", "web"), { members: { tags: ["db"], names: ["web"] } });
    assert.deepEqual(await edited("--tag", "", "--rest"), { members: { tags: [], rest: true } });
    assert.deepEqual(await edited("--per-pool", "1"), { limits: { perHost: 2, perVault: 4, perPool: 1 } });
    assert.deepEqual(await edited("--retries", "5"), { retry: { times: 5, delayMinutes: 30 } });
    assert.deepEqual(await edited("--sla", "12"), { slaHours: 12 });
    const { code, out, line } = await godwit("group", "edit", "gold", "--window", "sat,sunday 22:00-06:00");
    assert.deepEqual([code, line], [2, undefined]);
    assert.match(out, /'sunday' is none of mon, tue, wed/);
  });

  it("ask for a recovery as it was meant, and only once whether old or new", async () => {
    const asNew = await godwit(
      "recover",
      "vm",
      "abcd",
      "--to",
      "bravo",
      "--storage",
      "pool",
      "--name",
      "web2",
      "--network",
      "a=b",
      "--network",
      "c=d",
      "--no-wait",
    );
    assert.deepEqual(asNew.body, {
      mode: "new",
      start: false,
      to: "bravo",
      storagePool: "pool",
      name: "web2",
      networks: { a: "b", c: "d" },
    });
    const inPlace = await godwit("recover", "vm", "abcd", "--in-place", "--disks", "vda,vdb", "--start", "--no-wait");
    assert.deepEqual(inPlace.body, { mode: "in-place", start: true, disks: ["vda", "vdb"] });
    const disk = await godwit("recover", "disk", "abcd", "vda", "--to", "bravo", "--storage", "pool", "--no-wait");
    assert.deepEqual(disk.body, { mode: "disk", to: "bravo", storagePool: "pool", disks: ["vda"] });
    assert.equal((await godwit("recover", "vm", "abcd", "--in-place", "--replace")).code, 2);
    assert.equal((await godwit("recover", "vm", "abcd", "--network", "nonsense")).code, 2);
  });
});
