import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { exitCode, runCommand } from "../src/index.ts";

/** What the scripted server answers, by `METHOD /path`; it stands for nothing but a server's answers. */
type Answer = { readonly status: number; readonly body?: unknown; readonly events?: readonly unknown[] };

describe("the godwit command", () => {
  let folder: string;
  let socket: string;
  let server: Server;
  let answers: Record<string, Answer>;
  let asked: { readonly line: string; readonly body: string; readonly headers: IncomingMessage["headers"] }[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "godwit-cli-"));
    socket = join(folder, "sock");
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const line = `${request.method ?? ""} ${request.url ?? ""}`;
        asked.push({ line, body: Buffer.concat(chunks).toString(), headers: request.headers });
        const { status, body, events } = answers[line] ?? { status: 500, body: { kind: "x" } };
        response.writeHead(status, { "content-type": events ? "text/event-stream" : "application/json" });
        response.end(events ? events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("") : JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  beforeEach(() => {
    answers = {};
    asked = [];
  });

  async function godwit(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
    let out = "";
    let err = "";
    const code = await runCommand(args, {
      env: { GODWIT_SERVER: "ignored" },
      version: "1.2.3",
      signal: new AbortController().signal,
      out: { isTerminal: false, columns: 80, write: (text) => void (out += text) },
      err: { isTerminal: false, columns: 80, write: (text) => void (err += text) },
    });
    return { code, out, err };
  }

  const job = (state: string, more: object = {}): object => ({
    id: "j1",
    kind: "vm.migrate",
    title: "migrate web from alpha to bravo",
    subject: { type: "vm", id: "v", name: "web" },
    state,
    createdAt: "2026-01-01T00:00:00Z",
    waitingFor: [],
    steps: [],
    reasons: [],
    log: [],
    input: {},
    ...more,
  });
  const problem = (status: number, kind: string, more: object = {}): Answer => ({
    status,
    body: { type: "about:blank", title: kind, status, kind, detail: `the detail of ${kind}`, ...more },
  });

  it("says which server it could not reach, and what to do", async () => {
    const { code, err } = await godwit("host", "list", "--server", join(folder, "nobody"));
    assert.equal(code, exitCode.failed);
    assert.match(err, /no Godwit server answers at .*nobody; start one with 'godwit server'/);
  });

  it("ends with the code that the kind of error has", async () => {
    const codes = { "not-found": 3, ambiguous: 2, invalid: 2, refused: 4, conflict: 1, "host-lost": 1 };
    for (const [kind, expected] of Object.entries(codes)) {
      answers = { "GET /api/v1/vms/web": problem(400, kind) };
      const { code, err } = await godwit("--server", socket, "vm", "show", "web");
      assert.equal(code, expected, kind);
      assert.match(err, new RegExp(`^godwit: the detail of ${kind}`));
    }
  });

  it("ends with 2 and a hint for a line that is not one", async () => {
    assert.equal((await godwit("vm", "stop")).code, exitCode.usage);
    assert.equal((await godwit("vm", "dance")).code, exitCode.usage);
    assert.equal((await godwit("vm", "list", "-o", "xml")).code, exitCode.usage);
    assert.match((await godwit("vm", "migrate", "web", "--to", "b", "--bandwidth", "fast")).err, /a rate such as 100M/);
  });

  it("prints every reason of a refused job with its way out", async () => {
    const checks = [
      { id: "cpu", verdict: "fail", text: "avx2 missing", remedy: "choose another model" },
      { id: "memory", verdict: "pass", text: "enough" },
    ];
    answers = {
      "POST /api/v1/vms/web/migrate": { status: 202, body: job("queued") },
      "GET /api/v1/jobs/j1/events": {
        status: 200,
        events: [
          job("running"),
          job("failed", { error: { type: "about:blank", title: "Refused", status: 422, kind: "refused", detail: "no", checks } }),
        ],
      },
    };
    const { code, err } = await godwit("--server", socket, "vm", "migrate", "web", "--to", "bravo", "--idempotency-key", "once");
    assert.equal(code, exitCode.refused);
    assert.match(err, /cpu: avx2 missing\n {4}→ choose another model/);
    assert.doesNotMatch(err, /memory: enough/);
    assert.equal(asked[0]?.headers["idempotency-key"], "once");
  });

  it("takes a watch that broke off up again, and prints the job's id without waiting when told so", async () => {
    answers = {
      "POST /api/v1/vms/web/start": { status: 202, body: job("queued", { title: "start web" }) },
      "GET /api/v1/jobs/j1/events": { status: 200, events: [job("running", { title: "start web" })] },
      "GET /api/v1/jobs/j1": { status: 200, body: job("done", { title: "start web" }) },
    };
    assert.deepEqual(await godwit("--server", socket, "vm", "start", "web"), {
      code: 0,
      out: "start web: done\n",
      err: "start web: running\n",
    });
    assert.deepEqual(await godwit("--server", socket, "vm", "start", "web", "--no-wait"), { code: 0, out: "j1\n", err: "" });
  });

  it("prints for people or for programs, wherever the option stands", async () => {
    answers = {
      "GET /api/v1/networks?limit=200": { status: 200, body: { items: [] } },
      "GET /api/v1/networks": { status: 200, body: { items: [] } },
    };
    assert.equal((await godwit("--server", socket, "network", "list")).out, "NAME  STATE  ROLE  METRIC  SUBNETS  HOSTS  WHY\n");
    assert.equal((await godwit("network", "list", "-o", "json", "--server", socket)).out, "[]\n");
    assert.equal((await godwit("-o", "yaml", "network", "--server", socket, "list")).out, "[]\n");
  });

  it("sends only what was given", async () => {
    const settings = { status: 200, body: { order: [], exclude: [] } };
    answers = { "PATCH /api/v1/live-migration": settings, "GET /api/v1/networks": { status: 200, body: { items: [] } } };
    await godwit("--server", socket, "live-migration", "set", "--order", "b, a", "--max-parallel", "host");
    await godwit("--server", socket, "live-migration", "set", "--exclude", "");
    const sent = asked.filter((one) => one.line.startsWith("PATCH")).map((one) => JSON.parse(one.body) as unknown);
    assert.deepEqual(sent, [{ order: ["b", "a"], maximumParallelMigrations: null }, { exclude: [] }]);
  });

  it("shows the difference that a file makes", async () => {
    const changes = [
      { action: "add", path: "hosts[0]", subject: "host alpha", after: "qemu:///system" },
      { action: "change", path: "networks[0].role", subject: "network storage", before: "cluster", after: "none" },
    ];
    answers = { "POST /api/v1/apply": { status: 200, body: { dryRun: true, changes } } };
    const file = join(folder, "cluster.yaml");
    await writeFile(file, "hosts: []\n");
    const { out } = await godwit("--server", socket, "apply", "-f", file, "--dry-run");
    assert.equal(
      out,
      '+ host alpha (hosts[0]): "qemu:///system"\n~ network storage (networks[0].role): "cluster" → "none"\n2 changes would be made\n',
    );
    assert.deepEqual(JSON.parse(asked[0]?.body ?? ""), { document: "hosts: []\n", fileName: "cluster.yaml", dryRun: true });
    assert.equal((await godwit("apply", "-f", join(folder, "none.yaml"))).code, exitCode.usage);
  });

  it("ends what doctor found with how it stands, and fails when a check did", async () => {
    const pass = { id: "node", verdict: "pass", text: "Node v24" };
    const skipped = { id: "clock", verdict: "not-applicable", text: "not known" };
    const warn = { id: "hosts", verdict: "warn", text: "no host has been added yet", remedy: "godwit host add" };
    const fail = { id: "socket", verdict: "fail", text: "is gone", remedy: "restart" };
    const doctor = async (...checks: readonly object[]): Promise<{ code: number; out: string }> => {
      answers["POST /api/v1/doctor"] = { status: 200, body: { sections: [{ subject: "server", checks }] } };
      return godwit("--server", socket, "doctor");
    };
    assert.match((await doctor(pass)).out, /^server\n {2}ok {3}node: Node v24\nnothing wrong was found\n$/);
    const warned = await doctor(pass, skipped, warn);
    assert.match(warned.out, / {2}– {4}clock: .*\n {2}warn hosts: .*\n {7}→ godwit host add\n1 warning: each arrow/);
    const failed = await doctor(fail, warn);
    assert.match(failed.out, /FAIL socket.*1 failed, 1 warning: each arrow says what to do\n$/s);
    assert.deepEqual([warned.code, failed.code], [0, exitCode.refused]);
  });

  it("shows the plan of a drain with every VM, and ends with 4 when one cannot move", async () => {
    const entry = { vmId: "1", vm: "web", memoryBytes: 1, reason: { code: "chosen", text: "bravo would be 20 % full" } };
    const entries = [
      { ...entry, verdict: "move", order: 1, kind: "live", destination: "bravo", network: "migration", startsAtMs: 0, predictedMs: 2400 },
      {
        ...entry,
        vm: "key",
        verdict: "blocked",
        reason: { code: "profile", text: "it may only be shut down" },
        choice: "godwit vm stop key",
      },
      { ...entry, vm: "old", verdict: "stay", reason: { code: "off", text: "old is off" } },
    ];
    const room = [{ hostId: "h2", host: "bravo", freeBefore: 2 ** 31, freeAfter: 2 ** 30, arriving: 1 }];
    const plan = { hostId: "h1", host: "alpha", entries, room, concurrency: 1, scheduledMs: 2400, predictedMs: 2400, possible: false };
    answers = { "POST /api/v1/hosts/alpha/drain-plan": { status: 200, body: plan } };
    const { code, out, err } = await godwit("--server", socket, "host", "drain", "alpha", "--to", "bravo,charlie", "--dry-run");
    assert.equal(code, exitCode.refused);
    assert.match(out, /^alpha CANNOT be emptied as it is: 1 of 3 VMs move, 1 at a time, in about 2\.4 s\n/);
    assert.match(out, /1 {2}web {2}bravo {2}live {2}migration/);
    assert.match(out, /key CANNOT MOVE: it may only be shut down\n {2}→ godwit vm stop key\nold stays: old is off\n/);
    assert.match(out, /bravo: 1 arrive, room 2\.0 GiB → 1\.0 GiB/);
    assert.match(err, /alpha cannot be emptied as things are/);
    assert.deepEqual(JSON.parse(asked[0]?.body ?? ""), { partial: false, to: ["bravo", "charlie"] });
    assert.equal((await godwit("host", "resume", "alpha", "--failback", "later")).code, exitCode.usage);
  });

  it("shows what a drain came to, move by move with its proof", async () => {
    const moves = [
      {
        vmId: "1",
        vm: "web",
        destinationId: "h2",
        destination: "bravo",
        outcome: "moved",
        network: "migration",
        totalMs: 2100,
        predictedMs: 2400,
        pauseMs: 41,
        proof: "alpha migr0 sent 90 MiB",
      },
    ];
    const result = { host: "alpha", moves, left: [{ vm: "old", reason: "old is off" }], totalMs: 2500, predictedMs: 2400 };
    answers = {
      "POST /api/v1/hosts/alpha/drain": { status: 202, body: job("queued") },
      "GET /api/v1/jobs/j1/events": { status: 200, events: [job("done", { result })] },
    };
    const { code, out } = await godwit("--server", socket, "host", "drain", "alpha");
    assert.equal(code, 0);
    assert.match(out, /web {2}bravo {2}moved {4}migration {2}2\.1 s +2\.4 s {2}41 ms {2}alpha migr0 sent 90 MiB/);
    assert.match(out, /old was left: old is off\nall in 2\.5 s, foretold 2\.4 s/);
  });

  it("writes completion scripts for the usual shells", async () => {
    for (const shell of ["bash", "zsh", "fish"]) assert.match((await godwit("completion", shell)).out, /migration-network/);
    assert.equal((await godwit("completion", "tcsh")).code, exitCode.usage);
  });
});
