import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@godwit/core";
import fc from "fast-check";
import { applyClusterFile } from "../../src/apply/apply.ts";
import type { ApplyTarget, CheckedHost, GroupsTarget, KnownHost, WantedHost } from "../../src/apply/target.ts";
import { InventoryTarget } from "../../src/apply/inventory-target.ts";
import { EngineError } from "../../src/model/errors.ts";
import type { HostRecord } from "../../src/model/host.ts";
import { noPlacementSettings, type PlacementSettings } from "../../src/placement/rules.ts";
import { type GroupDraft, newGroup } from "../../src/protection/groups/draft.ts";
import type { ProtectionGroup } from "../../src/protection/groups/model.ts";
import { Networks } from "../../src/network/service.ts";
import { ScriptedHosts } from "../network/scripted-hosts.ts";
import { MemoryCollection, memoryStore } from "../network/support.ts";
import type { HypervisorHost } from "../../src/ports/hypervisor.ts";

const signal = new AbortController().signal;

/** Groups as a server keeps them, by name. */
class FakeGroups implements GroupsTarget {
  readonly kept = new Map<string, ProtectionGroup>();

  async list(): Promise<ProtectionGroup[]> {
    return [...this.kept.values()];
  }
  async vaults(): Promise<{ id: string; name: string }[]> {
    return [{ id: "v1", name: "main" }];
  }
  async create(draft: GroupDraft): Promise<void> {
    this.kept.set(draft.name, newGroup(draft, { id: `id-${draft.name}`, vaultId: "v1", createdAt: "2026-01-01T00:00:00.000Z" }));
  }
  async replace(draft: GroupDraft): Promise<void> {
    await this.create(draft);
  }
  async remove(name: string): Promise<void> {
    this.kept.delete(name);
  }
}

/** An inventory in memory over the scripted hosts; its log says what was done to it. */
class Site implements ApplyTarget {
  readonly source = new ScriptedHosts();
  readonly store = memoryStore();
  readonly networks = new Networks({ store: this.store, clock: systemClock, hosts: this.source });
  readonly log: string[] = [];
  readonly known = new Map<string, KnownHost>(
    ["alpha", "bravo"].map((name) => [name, { id: `id-${name}`, name, uri: `qemu+ssh://${name}/system` }]),
  );
  /** Throws when a step of this name is reached. */
  breakAt: string | undefined;

  placement: PlacementSettings = noPlacementSettings;
  readonly groups = new FakeGroups();
  async settings(): Promise<PlacementSettings> {
    return this.placement;
  }
  async replaceSettings(settings: PlacementSettings): Promise<void> {
    this.placement = settings;
  }

  async hosts(): Promise<KnownHost[]> {
    return [...this.known.values()];
  }
  async checkHost({ uri }: WantedHost): Promise<CheckedHost> {
    const [, name] = /^qemu\+ssh:\/\/([a-z]+)/.exec(uri) ?? [];
    if (!name || name === "ghost") throw new EngineError("host-lost", `${uri} does not answer: connection refused`);
    return { id: `id-${name}`, subnets: ["10.0.0.0/24", "10.0.1.0/24"] };
  }
  async addHost(host: WantedHost): Promise<{ id: string }> {
    this.#step(`add ${host.name}`);
    const { id } = await this.checkHost(host);
    this.known.set(host.name, { id, ...host });
    if (!this.source.hosts.some((each) => each.id === id)) this.source.hosts.push({ id, name: host.name, state: "up" });
    return { id };
  }
  async removeHost(id: string): Promise<void> {
    this.#step(`remove ${id}`);
    for (const host of this.known.values()) if (host.id === id) this.known.delete(host.name);
  }
  #step(step: string): void {
    this.log.push(step);
    if (this.breakAt === step) throw new EngineError("host-lost", `broken at ${step}`);
  }

  async apply(body: string, dryRun = false): Promise<string[]> {
    const document = `apiVersion: godwit/v1\nkind: Cluster\n${body}`;
    const { changes } = await applyClusterFile({
      document,
      fileName: "c.yaml",
      dryRun,
      target: this,
      networks: this.networks,
      placement: this,
      groups: this.groups,
      signal,
    });
    return changes.map(
      ({ action, path, subject, before, after }) => `${action} ${path} (${subject}): ${JSON.stringify(before)} -> ${JSON.stringify(after)}`,
    );
  }

  /** All that is kept: hosts, and every collection of the store. */
  async snapshot(): Promise<unknown> {
    return [
      await this.hosts(),
      await this.store.networks.list(),
      await this.store.liveMigration.list(),
      await this.store.hostMigration.list(),
      this.placement,
    ];
  }
}

async function site(): Promise<Site> {
  const made = new Site();
  await made.networks.refresh({ signal });
  return made;
}

const full = `
hosts:
  - name: alpha
    migration:
      maximumLiveMigrations: 4
      networks:
        - subnet: 10.0.1.0/24
  - name: charlie
    uri: qemu+ssh://charlie/system
    ssh: { host: charlie }
networks:
  - subnet: 10.0.1.0/24
    name: Migration
    metric: 900
  - name: Cluster Network 1
    role: cluster-and-client
    description: management and clients
liveMigration:
  order: [Migration]
  exclude: [Cluster Network 1]
  maximumParallelMigrations: 1
`;

test("the difference, made; a second apply changes nothing", async () => {
  const cluster = await site();
  const expected = [
    "change hosts[0].migration.useAnyNetwork (host alpha): true -> false",
    "change hosts[0].migration.maximumLiveMigrations (host alpha): 2 -> 4",
    'add hosts[1] (host charlie): undefined -> {"uri":"qemu+ssh://charlie/system","ssh":{"host":"charlie","port":22,"user":"root"}}',
    'change networks[0].name (network Cluster Network 2): "Cluster Network 2" -> "Migration"',
    'change networks[0].metric (network Cluster Network 2): "auto" -> 900',
    'change networks[1].description (network Cluster Network 1): "" -> "management and clients"',
    'change liveMigration.order (live migration): [] -> ["Migration"]',
    'change liveMigration.exclude (live migration): [] -> ["Cluster Network 1"]',
    'change liveMigration.maximumParallelMigrations (live migration): "host" -> 1',
  ];
  const before = await cluster.snapshot();
  const dry = await cluster.apply(full, true);
  assert.deepEqual(
    dry.filter((line) => !line.startsWith("add hosts[0].migration.networks")),
    expected,
  );
  assert.deepEqual(await cluster.snapshot(), before, "a dry run changes nothing");
  assert.deepEqual(await cluster.apply(full), dry);
  assert.deepEqual(await cluster.apply(full), []);
  assert.equal(cluster.networks.get("Migration").metric, 900);
  assert.deepEqual(
    (await cluster.networks.migrationNetworks.list()).map(({ host, subnet, managedBy }) => [host, subnet, managedBy]),
    [["alpha", "10.0.1.0/24", "apply c.yaml"]],
  );
});

test("what the file does not say is left alone; null-like words give decisions back", async () => {
  const cluster = await site();
  await cluster.apply(full);
  assert.deepEqual(await cluster.apply("hosts:\n  - name: bravo\nnetworks:\n  - name: Migration\n"), []);
  assert.deepEqual(
    await cluster.apply(
      "networks:\n  - name: Migration\n    metric: auto\nliveMigration:\n  maximumParallelMigrations: host\n  exclude: []\n",
    ),
    [
      'change networks[0].metric (network Migration): 900 -> "auto"',
      'change liveMigration.exclude (live migration): ["Cluster Network 1"] -> []',
      'change liveMigration.maximumParallelMigrations (live migration): 1 -> "host"',
    ],
  );
});

test("hosts go only with prune: true, after everything else; their settings go too", async () => {
  const cluster = await site();
  await cluster.networks.setHostMigration("bravo", { maximumLiveMigrations: 9 });
  assert.deepEqual(await cluster.apply("hosts:\n  - name: alpha\n"), []);
  assert.deepEqual(await cluster.apply("prune: true\nhosts:\n  - name: alpha\n"), [
    'remove hosts (host bravo): {"uri":"qemu+ssh://bravo/system"} -> undefined',
  ]);
  assert.deepEqual([[...cluster.known.keys()], (await cluster.store.hostMigration.list()).length], [["alpha"], 0]);
  await assert.rejects(cluster.apply("prune: true\n"), /c.yaml:3:8 prune: prune: true without a list of hosts/);
});

test("every dangling reference and every host out of reach at once, and nothing changed", async () => {
  const cluster = await site();
  const before = await cluster.snapshot();
  const body = `hosts:
  - name: alpha
    migration: { networks: [{ subnet: 10.0.1.7/24 }, { subnet: 10.0.1.0/24 }, { subnet: 10.0.1.0/24 }] }
  - name: ALPHA
    uri: qemu+ssh://bravo/system
  - name: delta
  - name: ghost
    uri: qemu+ssh://ghost/system
networks:
  - subnet: 10.9.0.0/24
  - name: Storge
  - role: none
  - subnet: 10.0.1.0/24
    name: cluster network 1
  - name: Cluster Network 2
liveMigration:
  order: [Cluster Network 3, 10.0.1.0/24, 10.0.1.0/24]
`;
  await assert.rejects(cluster.apply(body, true), (error: Error) => {
    assert.deepEqual(error.message.split("\n"), [
      'c.yaml:5:39 hosts[0].migration.networks[0].subnet: "10.0.1.7/24" is no subnet or address such as 10.0.1.0/24, fd00::/64 or 10.0.1.7: it has host bits set; write 10.0.1.0/24 for the subnet or 10.0.1.7 for the one address',
      "c.yaml:5:89 hosts[0].migration.networks[2].subnet: 10.0.1.0/24 is in the list twice",
      "c.yaml:6:11 hosts[1].name: hosts[0] is called 'alpha' already",
      "c.yaml:7:10 hosts[1].uri: leads to the machine that is the host 'bravo' already",
      "c.yaml:8:5 hosts[2].uri: is missing: there is no host 'delta' yet",
      "c.yaml:10:10 hosts[3].uri: qemu+ssh://ghost/system does not answer: connection refused",
      "c.yaml:13:11 networks[1].name: there is no network 'Storge'; give its subnet to name it so",
      "c.yaml:14:5 networks[2]: says neither subnet nor name, so it is not known which network is meant",
      "c.yaml:16:11 networks[3].name: the name 'cluster network 1' is taken by the network on 10.0.0.0/24",
      "c.yaml:17:5 networks[4]: is the same network as networks[3]",
      "c.yaml:19:11 liveMigration.order[0]: there is no network 'Cluster Network 3' (did you mean 'Cluster Network 2'?); there are Cluster Network 2, Cluster Network 1, Network 10.9.0.0/24",
      "c.yaml:19:43 liveMigration.order[2]: network 'Cluster Network 2' is in the list twice",
    ]);
    return true;
  });
  assert.deepEqual(await cluster.snapshot(), before);
});

test("on a fresh cluster: a network is named and ordered by its subnet before any host was seen", async () => {
  const cluster = new Site();
  cluster.known.clear();
  cluster.source.hosts.length = 0;
  const body = `hosts:
  - { name: alpha, uri: qemu+ssh://alpha/system }
  - { name: bravo, uri: qemu+ssh://bravo/system }
networks:
  - { subnet: 10.0.1.0/24, name: LM, metric: 5 }
liveMigration: { order: [LM] }
`;
  assert.equal((await cluster.apply(body)).length, 6);
  await cluster.networks.refresh({ signal });
  assert.deepEqual([cluster.networks.get("LM").subnets, cluster.networks.get("LM").state], [["10.0.1.0/24"], "up"]);
  assert.equal((await cluster.networks.verdicts("alpha", "bravo"))[0]?.network, "LM");
  assert.deepEqual(await cluster.apply(body), []);
  await assert.rejects(
    cluster.apply("networks:\n  - subnet: 10.7.0.0/24\n"),
    /no host has an address in 10.7.0.0\/24; there are 10.0.0.0\/24, 10.0.1.0\/24/,
  );
});

test("two networks swap their names; the last internal one cannot become none", async () => {
  const cluster = await site();
  await cluster.apply(
    "networks:\n  - { subnet: 10.0.0.0/24, name: Cluster Network 2 }\n  - { subnet: 10.0.1.0/24, name: Cluster Network 1 }\n",
  );
  assert.deepEqual(cluster.networks.get("Cluster Network 1").subnets, ["10.0.1.0/24"]);
  const none = "networks:\n  - { subnet: 10.0.0.0/24, role: none }\n  - { subnet: 10.0.1.0/24, role: none }\n";
  await assert.rejects(cluster.apply(none), /c.yaml:4:34 networks\[0\].role: no network would be left for internal traffic/);
});

test("another way to a known host is checked to lead to the same machine", async () => {
  const cluster = await site();
  await assert.rejects(
    cluster.apply("hosts:\n  - { name: alpha, uri: qemu+ssh://charlie/system }\n"),
    /leads to another machine \(id-charlie\) than the host 'alpha' is now \(id-alpha\)/,
  );
  assert.deepEqual(await cluster.apply("hosts:\n  - { name: alpha, uri: 'qemu+ssh://alpha:2222/system' }\n"), [
    'change hosts[0].uri (host alpha): "qemu+ssh://alpha/system" -> "qemu+ssh://alpha:2222/system"',
  ]);
  assert.deepEqual(cluster.log, ["remove id-alpha", "add alpha"]);
});

test("a failure in the middle: applying again does what is left", async () => {
  const cluster = await site();
  cluster.breakAt = "remove id-bravo";
  const body = `prune: true${full.replace("  - name: charlie", "  - name: charlie")}`;
  await assert.rejects(cluster.apply(body), /broken at remove id-bravo/);
  cluster.breakAt = undefined;
  assert.deepEqual(await cluster.apply(body), ['remove hosts (host bravo): {"uri":"qemu+ssh://bravo/system"} -> undefined']);
  assert.deepEqual(await cluster.apply(body), []);
});

test("property: whatever is applied, applying it again is empty", async () => {
  const subnets = ["10.0.0.0/24", "10.0.1.0/24"];
  const host = fc.record(
    {
      useAnyNetwork: fc.boolean(),
      maximumLiveMigrations: fc.nat(5),
      maximumStorageMigrations: fc.nat(5),
      networks: fc.uniqueArray(fc.record({ subnet: fc.constantFrom(...subnets, "10.0.1.2", "fd00::/64"), priority: fc.nat(3) }), {
        selector: ({ subnet }) => subnet,
        maxLength: 4,
      }),
    },
    { requiredKeys: [] },
  );
  const network = fc.record(
    {
      role: fc.constantFrom("cluster", "cluster-and-client"),
      metric: fc.oneof(fc.constant("auto"), fc.integer({ min: 1, max: 99 })),
      description: fc.constantFrom("", "text"),
    },
    { requiredKeys: [] },
  );
  const live = fc.record(
    {
      order: fc.shuffledSubarray(subnets),
      exclude: fc.subarray(subnets),
      maximumParallelMigrations: fc.oneof(fc.constant("host"), fc.nat(4)),
    },
    { requiredKeys: [] },
  );
  const cluster = await site();
  await fc.assert(
    fc.asyncProperty(host, fc.tuple(network, network), live, async (migration, networks, liveMigration) => {
      const file = {
        hosts: [{ name: "alpha", migration }],
        networks: networks.map((each, index) => ({ subnet: subnets[index], ...each })),
        liveMigration,
      };
      const body = Object.entries(file)
        .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
        .join("");
      const foretold = await cluster.apply(body, true);
      assert.deepEqual(await cluster.apply(body), foretold);
      assert.deepEqual(await cluster.apply(body), []);
    }),
    { numRuns: 150 },
  );
});

test("an inventory is asked before a host is added, and everything opened for it is closed", async () => {
  const open = new Set<string>();
  const source = new ScriptedHosts();
  const shell = await source.shell("id-alpha");
  const opened = <T extends object>(name: string, value: T): T & AsyncDisposable => {
    open.add(name);
    return { ...value, [Symbol.asyncDispose]: async () => void open.delete(name) };
  };
  const gone: string[] = [];
  const target = new InventoryTarget({
    store: { hosts: new MemoryCollection<HostRecord>() },
    inventory: {
      addHost: async () => ({ id: "id-alpha" }),
      removeHost: async (id) => {
        gone.push(id);
        throw new EngineError("not-found", "gone");
      },
    },
    openShell: () => opened("shell", { run: shell.run.bind(shell) }),
    openHost: async ({ uri }) => {
      if (uri.includes("ghost")) throw new EngineError("host-lost", "connection refused");
      return opened("host", { uuid: "id-alpha" }) as Partial<HypervisorHost> as HypervisorHost;
    },
  });
  const asked = await target.checkHost({ name: "alpha", uri: "qemu+ssh://alpha/system" }, { signal });
  assert.deepEqual(asked, { id: "id-alpha", subnets: ["10.0.0.0/24", "10.0.1.0/24"] });
  await assert.rejects(target.checkHost({ name: "ghost", uri: "qemu+ssh://ghost/system" }, { signal }), { kind: "host-lost" });
  await target.removeHost("id-alpha");
  assert.deepEqual([[...open], gone], [[], ["id-alpha"]]);
});

test("protection groups are made, changed as a whole and pruned; what is wrong is told by its place", async () => {
  const site = new Site();
  const file = (groups: string): string => `protection:\n  groups:\n${groups}`;
  const gold = "    - { name: gold, vault: main, members: { names: ['web*'] }, schedule: { everyMinutes: 60 }, slaHours: 4 }\n";
  assert.deepEqual(
    (await site.apply(file(gold))).map((line) => line.split(":")[0]),
    ["add protection.groups[0] (protection group gold)"],
  );
  assert.deepEqual(await site.apply(file(gold)), [], "a second time changes nothing");
  const changed = await site.apply(file(gold.replace("slaHours: 4", "slaHours: 8")));
  assert.match(changed[0] ?? "", /^change protection\.groups\[0\] \(protection group gold\)/);
  assert.equal(site.groups.kept.get("gold")?.slaHours, 8);
  await assert.rejects(
    site.apply(file("    - { name: a, vault: nope, members: { rest: true } }\n    - { name: b, vault: main, members: {} }\n")),
    (error: Error) =>
      /protection\.groups\[0\]\.vault.*no vault 'nope'/s.test(error.message) &&
      /protection\.groups\[1\].*selects no VM/s.test(error.message),
  );
  assert.equal(site.groups.kept.size, 1, "nothing was changed");
  await site.apply("prune: true\nhosts: []\nprotection:\n  groups: []\n");
  assert.equal(site.groups.kept.size, 0);
});
