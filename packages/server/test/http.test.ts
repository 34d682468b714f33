import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, openApiDocument, type Route, routes } from "@godwit/api";
import { EngineError, type EngineErrorKind, refusal, StoreError, type StoreErrorKind } from "@godwit/engine";
import { httpRig, token, vm } from "./http-rig.ts";

const inputs: Readonly<Record<string, { readonly path?: string; readonly body?: unknown }>> = {
  apply: { body: { document: "x" } },
  hostAdd: { body: { name: "alpha", uri: "test:///default" } },
  vmStop: { body: {} },
  vmMigrate: { body: { to: "beta" } },
  vmMoveStorage: { body: { to: "local" } },
  vmMigrationPlan: { body: { to: "beta" } },
  vmCapture: { body: { vault: "safe" } },
  vmCaptureFiles: { body: { vault: "safe", paths: ["/etc"] } },
  pointRecoverFiles: { body: { vm: "v1", into: "/srv/back" } },
  vaultLocationAdd: { body: { name: "safe", location: "/srv/vault", passphraseFile: "/etc/godwit/safe" } },
  groupCreate: { body: { name: "gold", vault: "safe", members: { names: ["*"] }, schedule: { everyMinutes: 60 } } },
  groupEdit: { body: { slaHours: 4 } },
  storagePlan: { body: { vms: [{ name: "db", usedBytes: 1e11, churnBytesPerDay: 1e9 }] } },
  migrationExplain: { path: "?to=alpha" },
  networkEdit: { body: { name: "x" } },
  liveMigrationSet: { body: { order: ["n1"] } },
  hostMigrationSet: { body: { useAnyNetwork: false } },
  migrationNetworkAdd: { body: { subnet: "10.0.0.0/24" } },
  backupNetworkAdd: { body: { subnet: "10.0.0.0/24" } },
  migrationNetworkSet: { body: { subnet: "*", newPriority: 1 } },
  backupNetworkSet: { body: { subnet: "*", newPriority: 1 } },
  migrationNetworkRemove: { path: "?subnet=10.0.0.0/24" },
  backupNetworkRemove: { path: "?subnet=10.0.0.0/24" },
};

test("every operation of the contract answers, with the status and the shape that it says", async () => {
  await using rig = await httpRig();
  const job = String((await rig.call("/api/v1/vms/v1/start", { method: "POST" })).body["id"]);
  for (const [name, definition] of Object.entries<Route>(routes)) {
    if (definition.streams) continue;
    const path = definition.path.replace(
      /\{(\w+)\}/g,
      (_, what: string) => ({ host: "alpha", vm: "v1", network: "lan", group: "gold", vault: "safe", point: "p1", job })[what] ?? "",
    );
    const { path: query = "", body } = inputs[name] ?? {};
    const answer = await rig.call(`/api/v1${path}${query}`, { method: definition.method, ...(body === undefined ? {} : { body }) });
    assert.equal(answer.status, definition.status, `${name}: ${answer.text}`);
    if (definition.status === 204) assert.equal(answer.text, "");
  }
});

test("the OpenAPI document is served as the contract makes it", async () => {
  await using rig = await httpRig();
  assert.deepEqual((await rig.call("/api/v1/openapi.json")).body, JSON.parse(JSON.stringify(openApiDocument("0.0.0"))));
});

test("every kind of engine error has its status, as problem details with the whole reason", async () => {
  await using rig = await httpRig();
  const statuses: Record<EngineErrorKind, number> = {
    "not-found": 404,
    ambiguous: 409,
    conflict: 409,
    invalid: 400,
    refused: 422,
    "host-lost": 503,
    hypervisor: 502,
    timeout: 504,
    interrupted: 503,
  };
  for (const [kind, status] of Object.entries(statuses)) {
    rig.world.error = new EngineError(kind as EngineErrorKind, "it failed", { host: "alpha" }, { cause: new Error("deep down") });
    const { status: got, body, headers } = await rig.call("/api/v1/hosts/x");
    assert.match(headers["content-type"] ?? "", /^application\/problem\+json/);
    assert.deepEqual([got, body["status"], body["kind"], body["detail"]], [status, status, kind, "it failed: deep down"]);
    assert.deepEqual(body["context"], { host: "alpha" });
    assert.equal(body["instance"], `urn:godwit:request:${String(headers["x-request-id"])}`);
  }
});

test("a refusal carries its checks", async () => {
  await using rig = await httpRig();
  const check = { id: "cpu", verdict: "fail", text: "no avx2", remedy: "another host" } as const;
  rig.world.error = refusal("web may not move", [check]);
  const { status, body } = await rig.call("/api/v1/hosts/x");
  assert.deepEqual([status, body["checks"]], [422, [check]]);
});

test("errors of the store have their status", async () => {
  await using rig = await httpRig();
  const statuses: Partial<Record<StoreErrorKind, number>> = { conflict: 409, full: 507, io: 503, corrupt: 503, closed: 503 };
  for (const [kind, status] of Object.entries(statuses)) {
    rig.world.error = new StoreError(kind as StoreErrorKind, "no");
    assert.equal((await rig.call("/api/v1/hosts/x")).status, status, kind);
  }
});

test("an unforeseen error is logged under its request, and tells a client nothing", async () => {
  await using rig = await httpRig();
  rig.world.error = new TypeError("cannot read /root/secret");
  const { status, text, headers } = await rig.call("/api/v1/hosts/x");
  assert.equal(status, 500);
  assert.doesNotMatch(text, /secret/);
  const line = rig.logged.find((each) => each.includes("unforeseen"));
  assert.ok(line?.includes("/root/secret") && line.includes(String(headers["x-request-id"])));
});

test("what does not fit the schema is refused with the place: missing, wrong, and misspelt members", async () => {
  await using rig = await httpRig();
  const wrong: readonly [string, string, unknown, RegExp][] = [
    ["POST", "/api/v1/hosts", { name: "a" }, /uri/],
    ["POST", "/api/v1/hosts", { name: "-bad-", uri: "x" }, /name: letters, digits/],
    ["POST", "/api/v1/hosts/alpha/migration-networks", { subnet: "10.0.0.0/8", priorty: 1 }, /priorty/],
    ["POST", "/api/v1/vms/v1/stop", { timeoutSeconds: -1 }, /timeoutSeconds/],
  ];
  for (const [method, path, body, detail] of wrong) {
    const answer = await rig.call(path, { method, body });
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.body["kind"], "invalid");
    assert.match(String(answer.body["detail"]), detail);
  }
  for (const query of ["limit=0", "limit=x", "limit=1001", "limit=1&limit=2", "nope=1", "cursor=nonsense"]) {
    assert.equal((await rig.call(`/api/v1/vms?${query}`)).status, 400, query);
  }
});

test("bad bodies are refused: not JSON, not said to be JSON, too large", async () => {
  await using rig = await httpRig();
  const post = { method: "POST" };
  assert.equal((await rig.call("/api/v1/hosts", { ...post, raw: "{" })).status, 400);
  assert.equal((await rig.call("/api/v1/hosts", { ...post, raw: '{"__proto__":{"x":1}}' })).status, 400);
  assert.equal((await rig.call("/api/v1/hosts", { ...post, raw: "x", headers: { "content-type": "text/plain" } })).status, 415);
  const large = await rig.call("/api/v1/hosts", { ...post, raw: JSON.stringify({ name: "x".repeat(3 << 20) }) });
  assert.deepEqual([large.status, large.body["kind"]], [413, "too-large"]);
});

test("an unknown path and a wrong method are problems too", async () => {
  await using rig = await httpRig();
  for (const [method, path] of [
    ["GET", "/nowhere"],
    ["DELETE", "/api/v1/server"],
  ] as const) {
    const { status, body } = await rig.call(path, { method });
    assert.deepEqual([status, body["kind"]], [404, "not-found"]);
  }
});

test("pages hold every item once, in order, also when items come and go in between", async () => {
  await using rig = await httpRig();
  rig.world.vms = Array.from({ length: 25 }, (_, n) => vm(n));
  const seen: string[] = [];
  let cursor = "";
  for (let page = 0; ; page += 1) {
    const { body } = await rig.call(`/api/v1/vms?limit=10${cursor}`);
    seen.push(...(body["items"] as { name: string }[]).map(({ name }) => name));
    if (page === 0) rig.world.vms = rig.world.vms.filter(({ id }) => id !== "v3" && id !== "v20");
    if (body["next"] === undefined) break;
    cursor = `&cursor=${body["next"] as string}`;
  }
  const expected = Array.from({ length: 25 }, (_, n) => vm(n)).filter(({ id }) => id !== "v20");
  assert.deepEqual(
    seen,
    expected.map(({ name }) => name),
  );
});

test("the same Idempotency-Key starts one job; for another request it is a conflict", async () => {
  await using rig = await httpRig();
  const start = (path: string, key: string): ReturnType<typeof rig.call> =>
    rig.call(path, { method: "POST", headers: { "idempotency-key": key } });
  const answers = await Promise.all([1, 2, 3, 4].map(() => start("/api/v1/vms/v1/start", "k1")));
  assert.equal(new Set(answers.map(({ body }) => body["id"])).size, 1);
  assert.equal((await start("/api/v1/vms/v1/stop", "k1")).status, 409);
  assert.notEqual((await start("/api/v1/vms/v1/start", "k2")).body["id"], answers[0]?.body["id"]);
  assert.equal((await start("/api/v1/vms/v1/start", "x".repeat(201))).status, 400);
  rig.world.vms = [];
  const repeated = await start("/api/v1/vms/v1/start", "k1");
  assert.deepEqual([repeated.status, repeated.body["id"]], [202, answers[0]?.body["id"]], "also when what it names is gone");
  assert.equal((await start("/api/v1/vms/v1/start", "k3")).status, 404);
});

test("a job is shown with its error as a problem, by state, and on its VM while it runs", async () => {
  await using rig = await httpRig();
  rig.world.run.body = ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  const { body } = await rig.call("/api/v1/vms/v1/start", { method: "POST" });
  assert.equal((await rig.call("/api/v1/vms/v1")).body["jobId"], body["id"]);
  assert.equal(((await rig.call("/api/v1/jobs?state=active&subject=v1")).body["items"] as unknown[]).length, 1);
  await rig.call(`/api/v1/jobs/${String(body["id"])}/cancel`, { method: "POST" });
  await Array.fromAsync(rig.jobs.watch(String(body["id"]), { signal: AbortSignal.timeout(30_000) }));
  assert.equal((await rig.call("/api/v1/vms/v1")).body["jobId"], undefined);
  rig.world.run.body = () => Promise.reject(new EngineError("hypervisor", "it said no"));
  const failing = String((await rig.call("/api/v1/vms/v1/start", { method: "POST" })).body["id"]);
  await Array.fromAsync(rig.jobs.watch(failing, { signal: AbortSignal.timeout(30_000) }));
  const failed = (await rig.call(`/api/v1/jobs/${failing}`)).body;
  assert.equal((failed["error"] as { kind: string; detail: string }).detail, "it said no");
  assert.ok(!("lease" in failed) && !("attempt" in failed), "what is between servers is not for clients");
  assert.equal((await rig.call("/api/v1/jobs/none")).status, 404);
  assert.equal((await rig.call("/api/v1/jobs/none/events")).status, 404);
});

test("on TCP only the token opens, only under the server's own name, and not for web pages of others", async () => {
  await using rig = await httpRig();
  const tcp = (path: string, headers: Record<string, string>): ReturnType<typeof rig.call> => rig.call(path, { port: rig.port, headers });
  const bearer = { authorization: `Bearer ${token}` };
  assert.equal((await tcp("/api/v1/server", bearer)).status, 200);
  assert.equal((await tcp("/api/v1/server", { ...bearer, host: `localhost:${rig.port}` })).status, 200);
  const none = await tcp("/api/v1/server", {});
  assert.deepEqual([none.status, none.headers["www-authenticate"]], [401, "Bearer"]);
  for (const wrong of ["Bearer x", `Bearer ${token}x`, "Bearer", "Basic YTpi"]) {
    assert.equal((await tcp("/api/v1/server", { authorization: wrong })).status, 401, wrong);
  }
  assert.equal((await tcp("/api/v1/server", { ...bearer, host: "evil.example" })).status, 403);
  assert.equal((await tcp("/api/v1/server", { ...bearer, host: `evil.example:${rig.port}` })).status, 403);
  assert.equal((await tcp("/api/v1/server", { ...bearer, origin: "http://evil.example" })).status, 403);
  assert.equal((await tcp("/api/v1/server", { ...bearer, origin: `http://127.0.0.1:${rig.port}` })).status, 200);
  for (const path of ["/metrics", "/api/v1/openapi.json", "/nowhere"]) assert.equal((await tcp(path, {})).status, 401, path);
  assert.equal((await tcp("/healthz", {})).status, 200);
  assert.equal((await tcp("/healthz", { host: "evil.example" })).status, 403);
  assert.ok(!rig.logged.some((line) => line.includes(token)), "the token is in no log");
});

test("the typed client works over TCP, pages included", async () => {
  await using rig = await httpRig();
  rig.world.vms = Array.from({ length: 450 }, (_, n) => vm(n));
  const client = new Client({ baseUrl: `http://127.0.0.1:${rig.port}`, token, fetch: (url, init) => fetch(url, init) });
  assert.equal((await Array.fromAsync(client.all("vmList", {}))).length, 450);
});

test("metrics count hosts, VMs and jobs", async () => {
  await using rig = await httpRig();
  rig.world.vms = [vm(1), vm(2, { state: "off" })];
  rig.world.run.body = async () => ({ memoryBytes: 5, diskBytes: 7, pauseMs: 20 });
  const { body } = await rig.call("/api/v1/vms/v1/migrate", { body: { to: "beta" } });
  await Array.fromAsync(rig.jobs.watch(String(body["id"]), { signal: AbortSignal.timeout(30_000) }));
  const { text, status } = await rig.call("/metrics");
  assert.equal(status, 200);
  for (const line of [
    'godwit_hosts{state="up"} 1',
    'godwit_hosts{state="lost"} 0',
    'godwit_vms{state="off"} 1',
    'godwit_jobs_ended_total{kind="vm.migrate",state="done"} 1',
    'godwit_migrated_bytes_total{what="memory"} 5',
    'godwit_migrated_bytes_total{what="disk"} 7',
    "godwit_migration_pause_seconds_count 1",
    "nodejs_eventloop_lag_seconds",
  ]) {
    assert.ok(text.includes(line), line);
  }
});
