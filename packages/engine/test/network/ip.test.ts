import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { compareSubnetTexts, contains, formatAddress, formatSubnet, parseAddress, parseSubnet } from "../../src/network/ip.ts";
import { canonicalSubnet, subnetMatches } from "../../src/network/migration-subnets.ts";

test("addresses are written as RFC 5952 says", () => {
  const canonical = (text: string): string => formatAddress(parseAddress(text)!);
  assert.equal(canonical("FD00:0:0:1:0:0:0:1"), "fd00:0:0:1::1");
  assert.equal(canonical("::ffff:10.0.0.1"), "::ffff:a00:1");
  assert.equal(canonical("1:0:2:3:4:5:6:7"), "1:0:2:3:4:5:6:7");
  assert.equal(canonical("::"), "::");
  assert.equal(canonical("1::"), "1::");
  for (const text of ["fe80::1%eth0", "10.0.0", "10.0.0.01", "", "host", "::1/64"]) assert.equal(parseAddress(text), undefined, text);
});

test("property: parse and format are inverse", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (value) => {
      const text = formatAddress({ family: 6, value });
      assert.ok(isIPv6(text), text);
      assert.equal(parseAddress(text)?.value, value);
      const v4 = { family: 4, value: value & 0xffff_ffffn } as const;
      assert.deepEqual(parseAddress(formatAddress(v4)), v4);
    }),
  );
});

test("a subnet has no host bits; a single address is one; what was meant is said", () => {
  assert.equal(formatSubnet(parseSubnet("10.0.0.7/32")!), "10.0.0.7");
  assert.equal(parseSubnet("10.0.0.7/24"), undefined);
  assert.equal(canonicalSubnet(" FD00::/64 "), "fd00::/64");
  assert.throws(() => canonicalSubnet("10.0.0.7/24"), /host bits set; write 10.0.0.0\/24 for the subnet or 10.0.0.7 for the one address/);
  for (const text of ["10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/", "eth0", "10.0.*"])
    assert.throws(() => canonicalSubnet(text), { kind: "invalid" }, text);
});

test("containment, and the order: IPv4 first, by number", () => {
  const inside = (subnet: string, address: string): boolean => contains(parseSubnet(subnet)!, parseAddress(address)!);
  assert.ok(inside("10.0.0.0/8", "10.255.0.1") && inside("0.0.0.0/0", "1.2.3.4") && inside("fd00::/64", "fd00::1"));
  assert.ok(!inside("10.0.0.0/24", "10.0.1.0") && !inside("::/0", "10.0.0.1"));
  const sorted = ["fd00::/64", "10.10.0.0/24", "10.9.0.0/24", "10.9.0.0/16"].toSorted(compareSubnetTexts);
  assert.deepEqual(sorted, ["10.9.0.0/16", "10.9.0.0/24", "10.10.0.0/24", "fd00::/64"]);
});

test("patterns select as an admin of Get-VMMigrationNetwork expects", () => {
  assert.ok(subnetMatches("192.168.*", "192.168.1.0/24") && subnetMatches("*", "fd00::/64") && subnetMatches("10.0.?.0/24", "10.0.1.0/24"));
  assert.ok(subnetMatches("10.0.0.7/32", "10.0.0.7") && subnetMatches("FD00:0::/64", "fd00::/64"));
  assert.ok(
    !subnetMatches("192.168.*", "10.192.168.0/24") &&
      !subnetMatches("10.0.0.0/8", "10.0.0.0/24") &&
      !subnetMatches("nonsense", "10.0.0.0/24"),
  );
  // A backtracking matcher would not come back from this one.
  assert.ok(!subnetMatches(`${"*a".repeat(2000)}b`, "a".repeat(2000)));
});
