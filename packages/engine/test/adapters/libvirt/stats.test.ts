import assert from "node:assert/strict";
import { test } from "node:test";
import { readStats, vmState } from "../../../src/adapters/libvirt/stats.ts";

test("statistics: the state, and each disk's own sizes; backing images and empty drives do not count", () => {
  const ullong = (field: string, value: bigint) => ({ field, value: { kind: "ullong", value } as const });
  const text = (field: string, value: string) => ({ field, value: { kind: "string", value } as const });
  const stats = readStats([
    { field: "state.state", value: { kind: "int", value: 1 } },
    { field: "state.reason", value: { kind: "int", value: 1 } },
    text("block.0.name", "vda"),
    ullong("block.0.capacity", 64n),
    ullong("block.0.allocation", 0n),
    ullong("block.0.physical", 20n),
    text("block.1.name", "vda"),
    ullong("block.1.capacity", 99n),
    text("block.2.name", "sdc"),
    text("block.3.name", "vdb"),
    ullong("block.3.capacity", 7n),
    ullong("block.3.allocation", 5n),
    text("block.x.name", "nonsense"),
  ]);
  assert.equal(stats.state, 1);
  assert.deepEqual(
    [...stats.disks],
    [
      ["vda", { capacityBytes: 64, allocatedBytes: 20 }],
      ["sdc", { capacityBytes: undefined, allocatedBytes: undefined }],
      ["vdb", { capacityBytes: 7, allocatedBytes: 5 }],
    ],
  );
});

test("states: libvirt's, and for those it does not have, whether the domain is there", () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7].map((state) => vmState(state, 1)),
    ["running", "blocked", "paused", "shutting-down", "off", "crashed", "suspended"],
  );
  assert.deepEqual([vmState(0, 4), vmState(99, -1), vmState(undefined, -1)], ["blocked", "off", "off"]);
});
