import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  freeLabIndexes,
  hostAddress,
  hostNames,
  labCount,
  labNetworks,
  networkNames,
  portName,
  uplinkAddress,
  uplinkInterface,
} from "../src/addresses.ts";

test("a lab has four networks of its own, management and migration with IPv6", () => {
  assert.deepEqual(
    labNetworks(7).map(({ name, ipv4, ipv6 }) => [name, ipv4, ipv6]),
    [
      ["management", "10.207.1.0/24", "fd67:6f64:7707:1::/64"],
      ["migration", "10.207.2.0/24", "fd67:6f64:7707:2::/64"],
      ["storage", "10.207.3.0/24", undefined],
      ["spare", "10.207.4.0/24", undefined],
    ],
  );
});

test("networks can be given IPv6 and an MTU", () => {
  const [management, , storage] = labNetworks(0, { management: { ipv6: false }, storage: { ipv6: true, mtu: 9000 } });
  assert.equal(management?.ipv6, undefined);
  assert.deepEqual([storage?.ipv6, storage?.mtu], ["fd67:6f64:7700:3::/64", 9000]);
});

test("no two labs, networks or hosts share an address", () => {
  const all = Array.from({ length: labCount }, (_, index) => index).flatMap((index) =>
    labNetworks(index, { storage: { ipv6: true }, spare: { ipv6: true } }).flatMap((network) =>
      [...hostNames.keys()]
        .map((host) => hostAddress(network, host))
        .concat(uplinkAddress(network))
        .flatMap(Object.values<string | undefined>),
    ),
  );
  assert.equal(new Set(all).size, all.length);
  assert.ok(all.every((address) => address !== undefined));
});

test("interface names fit the kernel's 15 characters", () => {
  for (const host of hostNames)
    for (const network of networkNames) assert.ok(portName(host, network).length <= 15, portName(host, network));
  assert.ok(uplinkInterface(labCount - 1).length <= 15);
});

test("a lab number out of range is refused", () => {
  for (const index of [-1, labCount, 1.5]) assert.throws(() => labNetworks(index), { kind: "invalid" });
});

test("numbers whose networks the machine uses are left out, other prefixes do not matter", () => {
  const free = freeLabIndexes(["10.200.9.9/16", "10.202.1.7", "10.204.0.0/15", "192.168.0.0/16", "default", "fe80::1/64", "0.0.0.0/0"]);
  assert.deepEqual(free.slice(0, 4), [1, 3, 6, 7]);
  assert.deepEqual(freeLabIndexes(["10.0.0.0/8"]), []);
});

test("a free number's networks never overlap a prefix in use", () => {
  const prefix = fc.tuple(
    fc.constantFrom(9, 10, 11),
    fc.integer({ min: 190, max: 255 }),
    fc.nat(255),
    fc.nat(255),
    fc.integer({ min: 8, max: 32 }),
  );
  fc.assert(
    fc.property(fc.array(prefix, { maxLength: 4 }), (prefixes) => {
      const free = freeLabIndexes(prefixes.map(([a, b, c, d, length]) => `${a}.${b}.${c}.${d}/${length}`));
      for (const index of free) {
        for (const [a, b, , , length] of prefixes) {
          const bits = Math.min(length, 16);
          const top = (first: number, second: number): number => Math.floor((first * 256 + second) / 2 ** (16 - bits));
          assert.ok(top(a, b) !== top(10, 200 + index));
        }
      }
    }),
  );
});
