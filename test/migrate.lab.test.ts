import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Job, MigrationPlan, MigrationResult, Network, Vm } from "@godwit/api";
import type { LabGuest } from "@godwit/lab";
import {
  assertNothingLeft,
  assertOneWholeGuest,
  ended,
  eventually,
  migrate,
  runGuest,
  showJob,
  type Site,
  slowMigration,
  startSite,
  vmHost,
} from "./support/site.ts";

/** Bytes that the source sent over a network during the move. */
function sent(result: MigrationResult, network: string): number {
  return result.interfaces
    .filter((proof) => proof.host === result.source && proof.network === network)
    .reduce((sum, proof) => sum + proof.sentBytes, 0);
}

describe("moving a running VM between real hosts", () => {
  let site: Site;
  let guest: LabGuest;

  before(async () => {
    site = await startSite({ hosts: 3 });
    guest = await runGuest(site.lab, "web", site.lab.host("alpha"));
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
  });
  after(async () => site?.[Symbol.asyncDispose]());

  it("finds the four networks that the hosts share, up between all of them", async () => {
    const networks = await site.godwit.json<Network[]>(["network", "list"]);
    const seen = new Map(networks.map((network) => [network.name, `${network.state} on ${network.interfaces.length}`]));
    for (const name of ["management", "migration", "storage", "spare"]) assert.equal(seen.get(name), "up on 3");
    assert.equal(seen.size, 4);
  });

  it("goes over the network that was ordered first, and proves it with byte counts", async () => {
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
    const result = await migrate(site.godwit, "web", "bravo");
    assert.equal(result.network, "migration");
    assert.ok(result.memoryBytes > 10 << 20, `only ${result.memoryBytes} bytes of memory`);
    assert.ok(sent(result, "migration") >= result.memoryBytes * 0.95);
    assert.ok(sent(result, "storage") + sent(result, "spare") + sent(result, "management") < result.memoryBytes / 20);
    assert.ok(result.pauseMs !== undefined && result.pauseMs > 0);
    assert.match(result.proof, /^alpha migr0 sent .* bravo migr0 received .* over migration/);
    assert.equal(await vmHost(site.godwit, "web"), "bravo running");
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
    await assertNothingLeft(guest, site.lab.host("alpha"));
  });

  it("goes over the other network once that is ordered first", async () => {
    await site.godwit.run(["live-migration", "set", "--order", "storage,migration"]);
    const result = await migrate(site.godwit, "web", "charlie");
    assert.equal(result.network, "storage");
    assert.ok(sent(result, "storage") >= result.memoryBytes * 0.95);
    assert.ok(sent(result, "migration") < result.memoryBytes / 20);
    await site.godwit.run(["live-migration", "set", "--order", "migration,storage"]);
  });

  it("takes the next network when the first does not answer, and says so", async () => {
    await site.lab.faults.cutLink(site.lab.host("alpha"), "migration");
    try {
      const job = await site.godwit.json<Job>(["vm", "migrate", "web", "--to", "alpha"]);
      const result = job.result as MigrationResult;
      assert.equal(result.network, "storage");
      const told = [...job.reasons.map((reason) => reason.text), ...result.attempts.map((attempt) => attempt.reason.text)].join("\n");
      assert.match(told, /migration/);
      assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
    } finally {
      await site.lab.faults.restoreLink(site.lab.host("alpha"), "migration");
      await site.godwit.run(["network", "probe"]);
    }
  });

  it("obeys exclusions and the destination's migration networks", async () => {
    await site.godwit.run(["live-migration", "set", "--exclude", "migration"]);
    const explained = await site.godwit.run(["migration", "explain", "web", "--to", "bravo"]);
    assert.match(explained, /migration\s+out/);
    assert.match(explained, /storage\s+chosen/);
    await site.godwit.run(["live-migration", "set", "--exclude", ""]);
    const spare = site.lab.network("spare").ipv4;
    await site.godwit.run(["migration-network", "add", "--host", "bravo", "--subnet", spare]);
    await site.godwit.run(["host", "set", "bravo", "--no-use-any-network"]);
    const result = await migrate(site.godwit, "web", "bravo");
    assert.equal(result.network, "spare");
    await site.godwit.run(["migration-network", "remove", "--host", "bravo", "--subnet", spare]);
    await site.godwit.run(["host", "set", "bravo", "--use-any-network"]);
  });

  it("refuses with every reason, and changes nothing", async () => {
    const before = await site.lab.host("charlie").virsh(["list", "--all", "--name"]);
    const { code, stderr } = await site.godwit.try(["vm", "migrate", "web", "--to", "charlie", "--storage", "nowhere"]);
    assert.equal(code, 4);
    assert.match(stderr, /no storage pool 'nowhere'/);
    assert.match(stderr, /→ .*godwit storage list/);
    assert.equal((await site.lab.host("charlie").virsh(["list", "--all", "--name"])).stdout, before.stdout);
    const same = await site.godwit.try(["vm", "migrate", "web", "--to", "bravo"]);
    assert.equal(same.code, 4);
    assert.match(same.stderr, /on bravo already/);
    const plan = await site.godwit.json<MigrationPlan>(["vm", "migrate", "web", "--to", "charlie", "--dry-run"]);
    assert.equal(plan.possible, true);
    assert.equal((await site.godwit.try(["vm", "migrate", "nobody", "--to", "charlie"])).code, 3);
  });

  it("leaves the guest on the source when it is cancelled", async () => {
    const id = await slowMigration(site.godwit, "web", "charlie");
    await site.godwit.run(["job", "cancel", id]);
    const job = await ended(site.godwit, id);
    assert.equal(job.state, "cancelled");
    assert.equal(await assertOneWholeGuest(site.lab, guest), "bravo");
    await assertNothingLeft(guest, site.lab.host("charlie"));
  });

  it("queues a second migration behind a host's limit, and says behind what", async () => {
    const other = await runGuest(site.lab, "mail", site.lab.host("bravo"));
    await eventually("the server sees it", async () => (await vmHost(site.godwit, "mail").catch(() => "")) === "bravo running");
    await site.godwit.run(["live-migration", "set", "--max-parallel", "1"]);
    const first = await slowMigration(site.godwit, "web", "charlie");
    const second = (await site.godwit.run(["vm", "migrate", "mail", "--to", "charlie", "--no-wait"])).trim();
    const waiting = await eventually("the second waits", async () => {
      const job = await showJob(site.godwit, second);
      return job.state === "queued" && job.waitingFor.length > 0 && job;
    });
    assert.match(waiting.waitingFor.map((reason) => reason.text).join("\n"), /live migrations on/);
    await site.godwit.run(["job", "cancel", first]);
    assert.equal((await ended(site.godwit, second)).state, "done");
    await site.godwit.run(["live-migration", "set", "--max-parallel", "host"]);
    assert.equal(await assertOneWholeGuest(site.lab, other), "charlie");
    await other.destroy(site.lab.host("charlie"));
  });

  it("moves a VM together with its disks while it runs, and the originals go", async () => {
    const local = await runGuest(site.lab, "local", site.lab.host("alpha"), { disk: "local" });
    await eventually("the server sees it", async () => (await vmHost(site.godwit, "local").catch(() => "")) === "alpha running");
    const refused = await site.godwit.try(["vm", "migrate", "local", "--to", "bravo"]);
    assert.equal(refused.code, 4);
    assert.match(refused.stderr, /--storage POOL/);
    const result = await migrate(site.godwit, "local", "bravo", "--storage", "local");
    assert.equal(result.kind, "shared-nothing");
    assert.equal(result.network, "migration");
    assert.ok(result.diskBytes > 0);
    assert.equal(await assertOneWholeGuest(site.lab, local), "bravo");
    await assertNothingLeft(local, site.lab.host("alpha"));
    const disks = (await site.godwit.json<Vm>(["vm", "show", "local"])).disks.flatMap((disk) => disk.source.path ?? []);
    for (const path of disks)
      assert.notEqual((await site.lab.host("alpha").exec(["test", "-e", path], { check: false })).code, 0, `${path} is still on alpha`);
    const back = await migrate(site.godwit, "local", "alpha", "--storage", "local");
    assert.equal(back.destination, "alpha");
    await local.destroy(site.lab.host("alpha"));
  });

  it("lets the source drive when peer-to-peer is asked for", async () => {
    const [from] = (await vmHost(site.godwit, "web")).split(" ");
    const to = from === "charlie" ? "bravo" : "charlie";
    const result = await migrate(site.godwit, "web", to, "--p2p");
    assert.equal(result.driver, "peer-to-peer");
    assert.equal(await assertOneWholeGuest(site.lab, guest), to);
  });

  it("goes encrypted, by several streams, or as differences when that is asked for, and says how it went", async () => {
    const away = async (...more: readonly string[]): Promise<MigrationResult> =>
      await migrate(site.godwit, "web", (await vmHost(site.godwit, "web")).startsWith("bravo") ? "charlie" : "bravo", ...more);
    const plain = { tls: false, zeroCopy: false };
    assert.deepEqual((await away()).transport, plain);
    assert.deepEqual((await away("--tls")).transport, { ...plain, tls: true });
    assert.deepEqual((await away("--parallel", "3")).transport, { ...plain, parallelConnections: 3 });
    assert.deepEqual((await away("--compression", "xbzrle")).transport, { ...plain, compression: "xbzrle" });
    // Without a copy only where the machine lets guests lock memory: refused with that reason, or done.
    const to = (await vmHost(site.godwit, "web")).startsWith("bravo") ? "charlie" : "bravo";
    const zeroCopy = await site.godwit.try(["vm", "migrate", "web", "--to", to, "--zero-copy", "--parallel", "2"]);
    if (zeroCopy.code !== 0) assert.match(zeroCopy.stderr, /memory/);
    await assertOneWholeGuest(site.lab, guest);
  });

  it("refuses before it begins what a host cannot, and gives up where the other end is not who it should be", async () => {
    const from = await assertOneWholeGuest(site.lab, guest);
    const to = site.lab.host(from === "bravo" ? "charlie" : "bravo");
    const [ca, other] = ["/etc/pki/qemu/ca-cert.pem", "/etc/pki/qemu/server-cert.pem"];
    await to.exec(["bash", "-c", `mv ${ca} ${ca}.kept && cp ${other} ${ca}`]);
    const stranger = await site.godwit.try(["vm", "migrate", "web", "--to", to.name, "--tls"]);
    assert.equal(stranger.code, 1, stranger.stderr);
    await to.exec(["rm", ca]);
    const without = await site.godwit.try(["vm", "migrate", "web", "--to", to.name, "--tls"]);
    assert.equal(without.code, 4);
    assert.match(without.stderr, new RegExp(`${to.name} has no certificates for encrypted migration`));
    await to.exec(["mv", `${ca}.kept`, ca]);
    assert.equal(await assertOneWholeGuest(site.lab, guest), from);
    await assertNothingLeft(guest, to);
  });
});
