import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { place, type PlaceOptions } from "../../src/placement/place.ts";
import { builtInProfiles } from "../../src/placement/profiles/index.ts";
import type { PlacementRule } from "../../src/placement/rules.ts";
import { gib, type SiteSketch, siteOf, vmNamed } from "./sites.ts";

const three = [{ name: "alpha" }, { name: "bravo" }, { name: "charlie" }];
const web = { name: "web", on: "alpha" };
const rule = (more: Partial<PlacementRule>): PlacementRule => ({ name: "r", vms: { names: ["web*"] }, ...more });

function placed(sketch: Partial<SiteSketch>, options?: PlaceOptions): ReturnType<typeof place> {
  const site = siteOf({ hosts: three, vms: [web], ...sketch });
  return place(vmNamed(site, "web"), site, options);
}

/** Everything said against a host, by code. */
const against = (placement: ReturnType<typeof place>, host: string): string[] =>
  placement.hosts.find((one) => one.host === host && one.verdict === "out")?.reasons.map(({ code }) => code) ?? [];

describe("a host for a VM", () => {
  it("is another one, the emptiest that takes it, and every host has its reasons", () => {
    const placement = placed({ vms: [web, { name: "db", on: "bravo", memoryBytes: 4 * gib }] });
    assert.equal(placement.host, "charlie");
    assert.match(placement.reason.text, /best of 2 hosts .* 13 % full/);
    assert.deepEqual(
      placement.hosts.map(({ host, verdict, rank }) => [host, verdict, rank]),
      [
        ["charlie", "chosen", 1],
        ["bravo", "fits", 2],
        ["alpha", "out", undefined],
      ],
    );
    assert.deepEqual(against(placement, "alpha"), ["same-host"]);
  });

  it("has room, by promise and by measure", () => {
    const hosts = [{ name: "alpha" }, { name: "bravo", memoryBytes: 1.5 * gib }, { name: "charlie", freeMemoryBytes: gib / 2 }];
    const placement = placed({ hosts, vms: [web, { name: "db", on: "bravo" }] });
    assert.equal(placement.host, undefined);
    assert.deepEqual([against(placement, "bravo"), against(placement, "charlie")], [["memory"], ["memory"]]);
    assert.match(placement.reason.text, /no host takes web; nearest is bravo: web needs 1.0 GiB, bravo has room for 0.5 GiB/);
    assert.deepEqual(placement.hosts[0]?.changes, ["free 0.5 GiB on bravo"]);
  });

  it("may be where it is, although what is free there by measure lacks what it uses itself", () => {
    const rules = [rule({ preferredHosts: ["alpha"] })];
    const hosts = [{ name: "alpha", freeMemoryBytes: gib / 2 }, { name: "bravo" }];
    assert.equal(placed({ hosts, settings: { rules } }, { mayStay: true }).host, "alpha");
  });

  it("counts VMs that are off as no load", () => {
    assert.equal(
      placed({ hosts: [{ name: "alpha" }, { name: "bravo", memoryBytes: gib }], vms: [web, { name: "old", on: "bravo", state: "off" }] })
        .host,
      "bravo",
    );
  });

  it("is up, and not closed for maintenance", () => {
    const closed = { code: "draining", text: "bravo is being drained" };
    const placement = placed({ hosts: [{ name: "alpha" }, { name: "bravo", closed }, { name: "charlie", state: "lost" }] });
    assert.deepEqual([against(placement, "bravo"), against(placement, "charlie")], [["draining"], ["host-state"]]);
    assert.match(placement.hosts[0]?.changes.join() ?? "", /godwit host resume bravo/);
  });

  it("fits in CPU: architecture, maker, features and count", () => {
    const hosts = [
      { name: "alpha" },
      { name: "bravo", arch: "aarch64" },
      { name: "charlie", vendor: "AMD", features: new Set(["avx"]), cpus: 1 },
    ];
    const placement = placed({ hosts, vms: [{ ...web, arch: "x86_64", vendor: "Intel", features: ["avx", "avx2"], vcpus: 2 }] });
    assert.deepEqual(against(placement, "bravo"), ["cpu-arch"]);
    assert.deepEqual(against(placement, "charlie"), ["cpu-vendor", "cpu-features", "cpu-count"]);
    assert.match(placement.hosts.find(({ host }) => host === "charlie")?.reasons[1]?.text ?? "", /lacks avx2/);
  });

  it("reaches the guest's networks, its storage, and a network that may carry it", () => {
    const hosts = [
      { name: "alpha" },
      { name: "bravo", guestNetworks: new Set(["lan"]), pools: new Map([["ssd", 10]]) },
      { name: "charlie", guestNetworks: new Set(["dmz"]) },
    ];
    const path: SiteSketch["path"] = (_from, to) =>
      to === "bravo" ? { none: { code: "no-network", text: "cut" } } : { networkId: "n", network: "m" };
    const vms = [{ ...web, guestNetworks: ["dmz"], localDisks: { pool: "ssd", bytes: 20 } }];
    const placement = placed({ hosts, vms, path });
    assert.deepEqual(against(placement, "bravo"), ["guest-network", "no-network", "storage-room"]);
    assert.deepEqual(against(placement, "charlie"), ["storage"]);
  });

  it("is what the hypervisor did not rule out", () => {
    const ruledOut = (_vm: string, host: string): { code: string; text: string; change: string } | undefined =>
      host === "bravo" ? { code: "refused", text: "no such machine type", change: "upgrade bravo" } : undefined;
    assert.deepEqual(against(placed({ ruledOut }), "bravo"), ["refused"]);
  });

  it("is among those that the caller named, and may be the present one when asked", () => {
    assert.deepEqual(against(placed({}, { only: new Set(["charlie"]) }), "bravo"), ["not-asked"]);
    assert.equal(placed({ vms: [web, { name: "x", on: "bravo" }, { name: "y", on: "charlie" }] }, { mayStay: true }).host, "alpha");
  });
});

describe("rules", () => {
  it("bind a VM to possible hosts, each rule on its own", () => {
    const rules = [rule({ possibleHosts: ["bravo", "charlie"] }), rule({ name: "s", possibleHosts: ["alpha", "charlie"] })];
    const placement = placed({ settings: { rules } });
    assert.equal(placement.host, "charlie");
    assert.deepEqual(against(placement, "bravo"), ["possible-hosts"]);
    assert.match(placement.hosts.find(({ host }) => host === "bravo")?.changes.join() ?? "", /possible hosts of rule 's'/);
  });

  it("prefer hosts in order, whatever their load, and fall to any other", () => {
    const vms = [web, { name: "db", on: "charlie", memoryBytes: 6 * gib }];
    const settings = { rules: [rule({ preferredHosts: ["charlie", "alpha"] })] };
    assert.equal(placed({ vms, settings }).host, "charlie");
    assert.equal(placed({ vms: [web, { name: "db", on: "charlie", memoryBytes: 7.5 * gib }], settings }).host, "bravo");
  });

  it("keep apart: a wish moves on to the next preferred host, an order leaves no host", () => {
    const vms = [web, { name: "web2", on: "bravo" }];
    const wish = { rules: [rule({ keepApart: "prefer" as const, preferredHosts: ["bravo", "charlie"] })] };
    assert.equal(placed({ vms, settings: wish }).host, "charlie");
    const order = { rules: [rule({ keepApart: "enforce" as const })] };
    assert.deepEqual(against(placed({ vms, settings: order }), "bravo"), ["anti-affinity"]);
    assert.equal(placed({ hosts: three.slice(0, 2), vms, settings: order }).host, undefined);
  });

  it("keep together on a host or a site, and spread over both", () => {
    const vms = [web, { name: "web2", on: "charlie" }, { name: "web3", on: "charlie" }];
    assert.equal(placed({ vms, settings: { rules: [rule({ keepTogether: "host" })] } }).host, "charlie");
    assert.equal(placed({ vms, settings: { rules: [rule({ spreadOver: "hosts" })] } }).host, "bravo");
    const sites = { alpha: "north", bravo: "south", charlie: "south", delta: "north" };
    const hosts = [...three, { name: "delta" }];
    assert.equal(placed({ hosts, vms: vms.slice(0, 2), settings: { sites, rules: [rule({ keepTogether: "site" })] } }).host, "bravo");
    assert.equal(placed({ hosts, vms: vms.slice(0, 2), settings: { sites, rules: [rule({ spreadOver: "sites" })] } }).host, "delta");
  });

  it("choose VMs by name pattern, by tag and by what they are", () => {
    const possibleHosts = ["charlie"];
    const hit = (selector: PlacementRule["vms"]): boolean =>
      placed({
        vms: [{ ...web, memoryBytes: 2 * gib, guestNetworks: ["dmz"] }],
        settings: { tags: [{ vms: ["w?b"], tags: ["front"] }], rules: [rule({ vms: selector, possibleHosts })] },
      }).hosts.some(({ host, verdict }) => host === "bravo" && verdict === "out");
    assert.ok(hit({ names: ["web"] }) && hit({ names: ["w*"] }) && hit({ tags: ["front"] }));
    assert.ok(hit({ where: { minimumMemoryBytes: gib, guestNetworks: ["dmz"] } }));
    assert.ok(!hit({ names: ["db*"] }) && !hit({ tags: ["back"] }) && !hit({ names: ["web"], where: { minimumVcpus: 4 } }));
  });
});

describe("workload profiles", () => {
  it("come by tag or by rule, and never allow a saved state where it breaks the workload", () => {
    const site = siteOf({
      hosts: three,
      vms: [web, { name: "dc1", on: "alpha" }, { name: "x", on: "alpha" }],
      settings: { tags: [{ vms: ["dc*"], tags: ["dc"] }], rules: [rule({ profile: "exchange-dag-member" })] },
    });
    const [exchange, dc, other] = site.vms.map(({ policy }) => policy);
    assert.deepEqual([...(exchange?.allowedKinds ?? [])], ["live", "shared-nothing", "cold"]);
    assert.equal(exchange?.maximumPauseMs, 2000);
    assert.equal(dc?.profiles[0]?.vmGenerationId, "needed");
    assert.ok(other?.allowedKinds.has("quick"));
    for (const profile of builtInProfiles) {
      assert.equal(profile.savedState === "never", !profile.allowedKinds.includes("quick"));
      assert.ok(profile.source.length > 20);
    }
  });

  it("bound vCPUs per CPU wherever such a VM is", () => {
    const settings = { rules: [rule({ profile: "exchange-dag-member" })] };
    const hosts = [{ name: "alpha" }, { name: "bravo", cpus: 2 }];
    assert.deepEqual(
      against(
        placed({
          hosts,
          vms: [
            { ...web, vcpus: 2 },
            { name: "x", on: "bravo", vcpus: 2 },
            { name: "y", on: "bravo" },
          ],
          settings,
        }),
        "bravo",
      ),
      ["vcpu-ratio"],
    );
    assert.equal(
      placed({
        hosts,
        vms: [
          { ...web, vcpus: 2 },
          { name: "x", on: "bravo", vcpus: 2 },
        ],
        settings,
      }).host,
      "bravo",
    );
  });

  it("give way to a site's own of the same name", () => {
    const own = { ...builtInProfiles[0]!, name: "sql-server", tags: ["sql"], maximumPauseMs: 50 };
    const site = siteOf({ hosts: three, vms: [web], settings: { profiles: [own], tags: [{ vms: ["web"], tags: ["sql"] }] } });
    assert.equal(site.vms[0]?.policy.maximumPauseMs, 50);
  });
});
