import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HostView, PoolView, VmView } from "../../src/index.ts";
import { gatherSite, type PlacementHosts } from "../../src/placement/gather.ts";
import { TriedMoves } from "../../src/placement/findings.ts";

const pool = (hostId: string, availableBytes: number): PoolView =>
  ({ hostId, host: hostId, name: "local", active: true, path: "/srv/local", availableBytes }) as PoolView;
const web = {
  id: "web",
  name: "web",
  hostId: "alpha",
  state: "running",
  nics: [],
  cpu: { mode: "custom" },
  disks: [{ device: "disk", readOnly: false, capacityBytes: 100, source: { path: "/srv/local/web.qcow2" } }],
} as unknown as VmView;
const host = (id: string): HostView => ({ id, name: id, state: "up" }) as HostView;
const hosts: PlacementHosts = {
  hosts: () => [host("alpha"), host("bravo"), host("charlie")],
  host,
  vms: () => [web],
  vm: () => web,
  pools: () => [pool("alpha", 10), pool("bravo", 10), pool("charlie", 10)],
};
const settings = { sites: {}, tags: [], rules: [], profiles: [] };
const networks = { verdicts: async () => [], interfaces: () => [] };

describe("what was found out on the way to a plan", () => {
  it("is where disks have to be copied to, and how much room there really is", async () => {
    const tries = new TriedMoves(hosts);
    assert.deepEqual(tries.unseenPools(), [], "nothing has to be copied");
    const checks = [{ id: "storage", verdict: "fail" as const, text: "the disk is on alpha only" }];
    tries.note(web, { vmId: "web", destinationId: "bravo" }, { checks, possible: false });
    assert.deepEqual(tries.unseenPools(), ["local"]);
    tries.noteRooms("local", new Map([["bravo", 5000]]));
    assert.deepEqual(tries.unseenPools(), [], "each pool is looked at once for a plan");
    const site = await gatherSite({ hosts, networks, settings, closed: () => undefined, sources: [], findings: tries });
    assert.deepEqual(site.vms[0]?.localDisks, { pool: "local", bytes: 100 });
    const rooms = site.hosts.map(({ name, pools }) => [name, pools.get("local")]);
    assert.deepEqual(rooms, [
      ["alpha", 10],
      ["bravo", 5000],
      ["charlie", 10],
    ]);
  });
});
