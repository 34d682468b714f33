/** Run as a child and killed: saves records in a loop, and says of each that it is there once the store said so. */
import { SqliteStore } from "../src/store/sqlite/store.ts";
import { jobRecord } from "./job-record.ts";

const path = process.argv[2];
if (path === undefined) throw new Error("which database?");
await using store = await SqliteStore.open(path);
const job = await store.jobs.create(jobRecord("job"));
for (let n = 1; ; n += 1) {
  await store.liveMigration.put(`r${n}`, { order: [String(n)], exclude: [] });
  await store.jobs.save({ ...job, state: "running", attempt: n });
  process.stdout.write(`${n}\n`);
}
