import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SqliteStore } from "../src/store/sqlite/store.ts";
import { jobRecord } from "./job-record.ts";

const node = [process.execPath, "--conditions=godwit-source"] as const;
const source = (name: string): string => join(import.meta.dirname, name);

class Place {
  readonly folder: string;
  readonly socket: string;
  readonly state: string;
  readonly diary: string;
  readonly #children: ChildProcess[] = [];

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), "godwit-server-"));
    this.socket = join(this.folder, "s.sock");
    this.state = join(this.folder, "state");
    this.diary = join(this.folder, "diary");
    t.after(async () => {
      for (const child of this.#children) await end(child, "SIGKILL");
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  run(...args: readonly string[]): ChildProcess {
    const log = openSync(join(this.folder, "log"), "a");
    const child = spawn(node[0], [node[1], "--disable-warning=ExperimentalWarning", ...args], { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#children.push(child);
    return child;
  }

  async serve(main = [source("test-server.ts"), this.socket, this.state, this.diary]): Promise<ChildProcess> {
    const child = this.run(...main);
    await eventually(
      "the server answers",
      async () => (await this.get("/healthz").catch(() => undefined)) !== undefined,
      () => this.log(),
    );
    return child;
  }

  get(path: string): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      request({ socketPath: this.socket, path }, (response) => {
        response.setEncoding("utf8");
        let text = "";
        response.on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(JSON.parse(text) as Record<string, unknown>));
      })
        .on("error", reject)
        .end();
    });
  }

  log(): string {
    return readFileSync(join(this.folder, "log"), "utf8");
  }

  lines(): string[] {
    return existsSync(this.diary) ? readFileSync(this.diary, "utf8").trim().split("\n") : [];
  }
}

async function end(child: ChildProcess, signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
  return child.exitCode;
}

async function eventually(what: string, look: () => Promise<boolean> | boolean, why: () => string = () => ""): Promise<void> {
  for (const deadline = performance.now() + 20_000; !(await look()); await sleep(20)) {
    assert.ok(performance.now() < deadline, `not in time: ${what}\n${why()}`);
  }
}

/** A job as a server left it that died before it began. */
async function leaveJob(place: Place): Promise<void> {
  await using store = await SqliteStore.open(join(place.state, "godwit.db"));
  await store.jobs.create(jobRecord("left", { kind: "test.wait", lease: { owner: "a dead server", until: Number.MAX_SAFE_INTEGER } }));
}

test("a job goes on after its server was killed, and after the next was stopped; no completed step runs again", async (t) => {
  const place = new Place(t);
  await leaveJob(place);
  const first = await place.serve();
  await eventually("the job waits", () => place.lines().includes("1 second begins"));
  await end(first, "SIGKILL");

  const second = await place.serve();
  await eventually("the job waits again", () => place.lines().includes("2 second begins"));
  assert.deepEqual((await place.get("/api/v1/jobs/left"))["state"], "running");
  const stopping = performance.now();
  await end(second, "SIGTERM");
  assert.ok(performance.now() - stopping < 5000, "a stop takes less than 5 s");

  const third = await place.serve();
  await eventually("the job waits once more", () => place.lines().includes("3 second begins"));
  writeFileSync(`${place.diary}.go`, "");
  await eventually("the job is done", async () => (await place.get("/api/v1/jobs/left"))["state"] === "done");
  assert.deepEqual((await place.get("/api/v1/jobs/left"))["result"], { attempts: 3 });
  assert.deepEqual(place.lines(), ["1 first", "1 second begins", "2 second begins", "3 second begins", "3 second ends"]);
  await end(third, "SIGTERM");
});

test("godwit server: answers, refuses a second one with its pid, stops on SIGTERM and leaves no socket", async (t) => {
  const place = new Place(t);
  const args = [source("../src/main.ts"), "--socket", place.socket, "--state-dir", place.state];
  const server = await place.serve(args);
  assert.equal((await place.get("/api/v1/server"))["pid"], server.pid);
  const other = place.run(...args, "--socket", join(place.folder, "other.sock"));
  await once(other, "exit");
  assert.equal(other.exitCode, 1);
  assert.match(place.log(), new RegExp(`^godwit server: another Godwit server \\(pid ${server.pid} `, "m"));
  assert.equal(await end(server, "SIGTERM"), 0);
  assert.equal(existsSync(place.socket), false);
});

test("godwit server: wrong options end it with 2 and one line; what cannot be opened with its reason", async (t) => {
  const place = new Place(t);
  const main = source("../src/main.ts");
  const wrong = place.run(main, "--listen", "0.0.0.0:80");
  await once(wrong, "exit");
  assert.equal(wrong.exitCode, 2);
  assert.match(place.log(), /^godwit server: --listen 0\.0\.0\.0:80 is refused: there is no TLS yet[^\n]*\n$/);
  const nowhere = place.run(main, "--socket", place.socket, "--state-dir", join(main, "x"));
  await once(nowhere, "exit");
  assert.equal(nowhere.exitCode, 1);
  assert.match(place.log(), /cannot be created: check that its folder may be written/);
});

test("what the server logs is JSON lines", async (t) => {
  const place = new Place(t);
  const server = await place.serve([source("../src/main.ts"), "--socket", place.socket, "--state-dir", place.state]);
  await end(server, "SIGTERM");
  const lines = place.log().trim().split("\n");
  assert.ok(lines.map((line) => (JSON.parse(line) as { msg: string }).msg).includes("ready"), place.log());
});
