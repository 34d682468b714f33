import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultHostMigrationSettings, type NetworkRecord } from "../../src/model/network.ts";
import { addMigrationSubnet, removeMigrationSubnets, setMigrationSubnets } from "../../src/network/migration-subnets.ts";
import {
  editHostMigration,
  editLiveMigration,
  editNetworkRecords,
  liveMigrationLimit,
  noLiveMigrationSettings,
} from "../../src/network/settings.ts";

const record = (id: string, name: string, role: NetworkRecord["role"] = "cluster"): NetworkRecord => ({
  id,
  name,
  description: "",
  role,
  subnets: [`10.0.${id}.0/24`],
});
const records = [record("1", "Management"), record("2", "Migration"), record("3", "Gone")];
const listed = [
  { id: "1", metric: 80_000 },
  { id: "2", metric: 39_840 },
];
const edit = (id: string, change: Parameters<typeof editNetworkRecords>[0][number]["edit"]): NetworkRecord | undefined =>
  editNetworkRecords([{ id, edit: change }], { records, listed }).find((each) => each.id === id);

test("names are unique whatever their case, and two networks may swap theirs", () => {
  assert.throws(() => edit("1", { name: "MIGRATION" }), { kind: "conflict" });
  assert.throws(() => edit("1", { name: "2" }), { kind: "conflict" });
  assert.throws(() => edit("1", { name: "  " }), { kind: "invalid" });
  const swapped = editNetworkRecords(
    [
      { id: "1", edit: { name: "Migration" } },
      { id: "2", edit: { name: "Management" } },
    ],
    { records, listed },
  );
  assert.deepEqual(
    swapped.map(({ name }) => name),
    ["Migration", "Management", "Gone"],
  );
});

test("a metric ends the automatic one; autoMetric gives it back, or keeps the one of now", () => {
  assert.equal(edit("1", { metric: 900 })?.metric, 900);
  assert.equal(edit("1", { autoMetric: false })?.metric, 80_000);
  const manual = records.map((each) => ({ ...each, metric: 5 }));
  const back = editNetworkRecords([{ id: "1", edit: { autoMetric: true } }], { records: manual, listed });
  assert.equal("metric" in back[0]!, false);
  assert.throws(() => edit("1", { metric: 0 }), { kind: "invalid" });
  assert.throws(() => edit("1", { metric: 5, autoMetric: true }), { kind: "invalid" });
});

test("the last network for internal traffic cannot become none, and the refusal says what to do", () => {
  const others = [records[0]!, record("2", "Migration", "none"), records[2]!];
  assert.throws(
    () => editNetworkRecords([{ id: "1", edit: { role: "none" } }], { records: others, listed }),
    (error: { kind: string; checks: { remedy: string }[] }) => error.kind === "refused" && /another network/.test(error.checks[0]!.remedy),
  );
  assert.equal(edit("1", { role: "none" })?.role, "none");
});

test("order and exclusions: names become ids; unknown and double ones are refused with the names there are", () => {
  const settings = editLiveMigration(
    noLiveMigrationSettings,
    { order: ["migration", "1"], exclude: ["Gone"], maximumParallelMigrations: 1 },
    records,
  );
  assert.deepEqual(settings, { order: ["2", "1"], exclude: ["3"], maximumParallelMigrations: 1 });
  assert.deepEqual(editLiveMigration(settings, { maximumParallelMigrations: null }, records), { order: ["2", "1"], exclude: ["3"] });
  assert.throws(
    () => editLiveMigration(settings, { order: ["LM"] }, records),
    /no network "LM"; there are "Management", "Migration", "Gone"/,
  );
  assert.throws(() => editLiveMigration(settings, { order: ["1", "Management"] }, records), /"Management" is twice in order/);
  const twins = [...records, record("4", "management")];
  assert.throws(() => editLiveMigration(settings, { order: ["Management"] }, twins), { kind: "ambiguous" });
});

test("the cluster's maximum overrides the host's", () => {
  const host = editHostMigration(defaultHostMigrationSettings, { maximumLiveMigrations: 4 });
  assert.equal(liveMigrationLimit(noLiveMigrationSettings, host), 4);
  assert.equal(liveMigrationLimit({ ...noLiveMigrationSettings, maximumParallelMigrations: 1 }, host), 1);
  assert.throws(() => editHostMigration(host, { maximumStorageMigrations: 1.5 }), { kind: "invalid" });
});

test("migration networks: the first entry ends use-any, the last one's end brings it back, ties are allowed", () => {
  const entry = (subnet: string, priority = 0) => ({ subnet, priority, managedBy: "admin" });
  let settings = addMigrationSubnet(defaultHostMigrationSettings, entry("10.2.0.0/24"));
  assert.equal(settings.useAnyNetwork, false);
  settings = addMigrationSubnet({ ...settings, useAnyNetwork: true }, entry("10.1.0.0/24"));
  assert.deepEqual([settings.useAnyNetwork, settings.networks.map(({ subnet }) => subnet)], [true, ["10.1.0.0/24", "10.2.0.0/24"]]);
  assert.throws(() => addMigrationSubnet(settings, entry("10.1.0.0/24", 9)), { kind: "conflict" });
  assert.throws(() => addMigrationSubnet(settings, entry("10.3.0.0/24", -1)), { kind: "invalid" });

  const { settings: raised, changed } = setMigrationSubnets(settings, { subnet: "10.*", newPriority: 7 });
  assert.deepEqual(
    changed.map(({ priority }) => priority),
    [7, 7],
  );
  assert.throws(() => setMigrationSubnets(raised, { subnet: "10.*", newSubnet: "10.9.0.0/24" }), /selects 2 entries/);
  assert.throws(() => setMigrationSubnets(raised, { subnet: "10.1.0.0/24", newSubnet: "10.2.0.0/24" }), { kind: "conflict" });
  const moved = setMigrationSubnets(raised, { subnet: "10.1.0.0/24", newSubnet: "fd00::/64" }).settings;
  assert.deepEqual(
    moved.networks.map(({ subnet }) => subnet),
    ["10.2.0.0/24", "fd00::/64"],
  );

  assert.throws(() => removeMigrationSubnets(moved, "10.1.0.0/24"), /it has 10.2.0.0\/24, fd00::\/64/);
  const { settings: empty, removed } = removeMigrationSubnets({ ...moved, useAnyNetwork: false }, "*");
  assert.deepEqual([empty.useAnyNetwork, empty.networks.length, removed.length], [true, 0, 2]);
});
