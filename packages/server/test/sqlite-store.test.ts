import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { openDatabase } from "../src/store/sqlite/database.ts";
import { storeError } from "../src/store/sqlite/errors.ts";
import { SqliteStore } from "../src/store/sqlite/store.ts";
import { jobRecord } from "./job-record.ts";
import { storeContract, storeErrorOf } from "./store-contract.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-store-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const fresh = (): string => join(folder, `d${(files += 1)}`, "godwit.db");

storeContract("SQLite", () => SqliteStore.open(fresh()));

test("only the owner may read the files, the write-ahead log included", async () => {
  const path = fresh();
  await using store = await SqliteStore.open(path);
  await store.hosts.list();
  for (const suffix of ["", "-wal", "-shm", ".lock"]) assert.equal(statSync(path + suffix).mode & 0o777, 0o600, suffix);
  assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700);
});

test("a second server on the same file is refused, and told the pid of the first", async () => {
  const path = fresh();
  {
    await using _store = await SqliteStore.open(path);
    await assert.rejects(
      SqliteStore.open(path),
      (error: Error) => storeErrorOf("locked")(error) && error.message.includes(`pid ${process.pid} `),
    );
  }
  await using _again = await SqliteStore.open(path);
});

test("what a killed server said was written is there, and its lock is gone", async () => {
  const path = fresh();
  for (let round = 0; round < 3; round += 1) {
    rmSync(join(path, ".."), { recursive: true, force: true });
    const child = spawn(process.execPath, ["--conditions=godwit-source", join(import.meta.dirname, "store-writer.ts"), path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let last = 0;

    const ended = once(child, "exit");
    for await (const line of createInterface(child.stdout)) {
      last = Number(line);
      if (round === 0 && last === 1) await assert.rejects(SqliteStore.open(path), new RegExp(`pid ${child.pid} `));
      if (last === 20 + round * 7) child.kill("SIGKILL");
    }
    await ended;
    await using store = await SqliteStore.open(path);
    for (let n = 1; n <= last; n += 1) assert.deepEqual((await store.liveMigration.get(`r${n}`))?.order, [String(n)]);
    assert.ok(((await store.jobs.get("job"))?.attempt ?? 0) >= last);
    assert.equal((await store.jobs.claim("next", 1, () => true))[0]?.id, "job");
  }
});

test("a database of a newer Godwit is refused and left as it is", async () => {
  const path = fresh();
  await (await SqliteStore.open(path))[Symbol.asyncDispose]();
  const newer = new DatabaseSync(path);
  newer.exec("pragma user_version = 99");
  newer.close();
  const before = readFileSync(path);
  await assert.rejects(
    SqliteStore.open(path),
    (error: Error) => storeErrorOf("newer-schema")(error) && /schema 99, this one knows 1/.test(error.message),
  );
  assert.deepEqual(readFileSync(path), before);
});

test("another program's database is refused and left as it is", async () => {
  const path = fresh();
  await (await SqliteStore.open(path))[Symbol.asyncDispose]();
  rmSync(path);
  const other = new DatabaseSync(path);
  other.exec("create table accounts (n)");
  other.close();
  await assert.rejects(SqliteStore.open(path), storeErrorOf("not-ours"));
});

test("a damaged file is refused with the way out, whether its head or its middle is damaged", async () => {
  const path = fresh();
  {
    await using store = await SqliteStore.open(path);
    for (let n = 0; n < 500; n += 1)
      await store.networks.put(`n${n}`, { id: `n${n}`, name: "x".repeat(100), description: "", role: "none", subnets: [] });
  }
  const whole = readFileSync(path);
  const middle = Buffer.from(whole);
  middle.fill(0xee, 8192, 40_960);
  for (const damaged of [Buffer.from("this is not a database at all, but long enough to look like one".repeat(20)), middle]) {
    writeFileSync(path, damaged);
    await assert.rejects(SqliteStore.open(path), (error: Error) => storeErrorOf("corrupt")(error) && error.message.includes(`mv ${path} `));
    assert.deepEqual(readFileSync(path), damaged, "nothing was changed");
  }
  writeFileSync(path, whole);
  await using store = await SqliteStore.open(path);
  assert.equal((await store.networks.list()).length, 500);
});

test("a folder that cannot be written is said so", async () => {
  await assert.rejects(SqliteStore.open(join(import.meta.filename, "godwit.db")), storeErrorOf("io"));
});

test("no space: the change is refused as a whole, what was there stays, and it goes on when there is room", () => {
  const path = fresh();
  const database = openDatabase(path);
  const insert = database.prepare("insert into record values ('host', ?, ?)");
  insert.run("kept", "1");
  database.exec("pragma max_page_count = 20");
  let refused: unknown;
  for (let n = 0; n < 1000 && refused === undefined; n += 1) {
    try {
      insert.run(`h${n}`, "x".repeat(2000));
    } catch (error) {
      refused = storeError(path, error);
    }
  }
  assert.ok(storeErrorOf("full")(refused), String(refused));
  assert.match(String(refused), /no space left.*not made/);
  assert.equal(database.prepare("select value from record where id = 'kept'").get()?.["value"], "1");
  database.exec("pragma max_page_count = 100000");
  insert.run("later", "2");
  assert.equal(Object.values(database.prepare("pragma integrity_check").get() ?? {})[0], "ok");
  database.close();
});

test("a job's record is found by its newest state after many saves", async () => {
  await using store = await SqliteStore.open(fresh());
  const job = await store.jobs.create(jobRecord("a"));
  for (let n = 0; n < 50; n += 1) await store.jobs.save({ ...job, state: "running", attempt: n });
  assert.equal((await store.jobs.get("a"))?.attempt, 49);
});
