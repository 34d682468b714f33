import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DrainEntry, DrainPlan, Host, Job, MigrationResult, MovesResult, Placement } from "@godwit/api";
import type { LabHost } from "@godwit/lab";
import { assertOneWholeGuest, showJob, type Site } from "./support/site.ts";
import { pauseAtLast, rulesText, startTwelveGuests, type TwelveGuests } from "./support/twelve-guests.ts";

describe("draining a host of twelve guests with different rules and loads, one of five hosts", () => {
  const stack = new AsyncDisposableStack();
  let twelve: TwelveGuests;
  let site: Site;
  let alpha: LabHost;

  before(async () => {
    twelve = await startTwelveGuests(stack);
    ({ site } = twelve);
    alpha = site.lab.host("alpha");
  });
  after(() => stack.disposeAsync());

  const maintenance = async (name: string): Promise<string | undefined> =>
    (await site.godwit.json<Host>(["host", "show", name])).maintenance?.state;
  const runningOn = async (host: LabHost): Promise<string> => (await host.virsh(["list", "--name"])).stdout.trim();
  /** What a host has sent over each interface so far, bytes. */
  async function sent(host: LabHost): Promise<Record<string, number>> {
    const { stdout } = await host.exec(["cat", "/proc/self/net/dev"]);
    const lines = stdout.trim().split("\n").slice(2);
    return Object.fromEntries(
      lines.map((line) => {
        const [name = "", ...counts] = line.trim().split(/[:\s]+/);
        return [name, Number(counts[8])];
      }),
    );
  }

  it("names who cannot move, with the reason and the choice, before anything moves", async () => {
    await twelve.apply(rulesText(["{ name: dongle, vms: { names: [mail] }, possibleHosts: [alpha] }"]));
    const { code, stdout } = await site.godwit.try(["host", "drain", "alpha", "--dry-run"]);
    assert.equal(code, 4, stdout);
    assert.match(stdout, /alpha CANNOT be emptied as it is: 9 of 12 VMs move/);
    assert.match(stdout, /mail CANNOT MOVE: .*\n +→ .*possible hosts of rule 'dongle'/);
    assert.match(stdout, /busy CANNOT MOVE: .*\n +→ .*bravo: say so in a rule for it: .*pausePolicy: suspend-at-last/);
    assert.match(stdout, /old stays: old is off/);
    const refused = await site.godwit.try(["host", "drain", "alpha"]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /busy: .*cannot be done within a pause of 300 ms: it changes \d+ MiB\/s/s);
    assert.equal(await maintenance("alpha"), undefined);
    await twelve.allOn("alpha");
    const forced = await site.godwit.try(["vm", "migrate", "mail", "--to", "bravo"]);
    assert.equal(forced.code, 4);
    assert.match(forced.stderr, /dongle/);
  });

  it("does what its dry run said, over a slow link, too, and with a guest that does not converge; proven by bytes", async () => {
    await twelve.apply(rulesText([pauseAtLast]));
    const plan = await site.godwit.json<DrainPlan>(["host", "drain", "alpha", "--dry-run"]);
    assertPlan(plan);
    const before = await sent(alpha);
    const job = await site.godwit.json<Job>(["host", "drain", "alpha"]);
    const after = await sent(alpha);
    const result = job.result as MovesResult;
    const told = (moves: readonly { vm: string; destination?: string | undefined; network?: string | undefined }[]): string[] =>
      moves.map(({ vm, destination, network }) => `${vm} → ${destination} over ${network}`).sort();
    assert.deepEqual(told(result.moves), told(plan.entries.filter(({ verdict }) => verdict === "move")));
    for (const { vm, outcome, network, proof = "", why = "" } of result.moves) {
      assert.deepEqual([vm, outcome, network], [vm, "moved", "migration"]);
      assert.match(proof, /^alpha migr0 sent .* over migration/);
      assert.equal(why, plan.entries.find((entry) => entry.vm === vm)?.reason.text);
    }
    const { migration, storage, spare } = alpha.interfaces;
    const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    const memory = result.moves.reduce((sum, { memoryBytes = 0 }) => sum + memoryBytes, 0);
    assert.ok(grown(migration) > memory * 0.95, `${grown(migration)} of ${memory} bytes went over it`);
    for (const other of [storage, spare]) assert.ok(grown(other) < 1 << 20, `${grown(other)} bytes went over ${other}`);
    const busy = result.moves.find(({ vm }) => vm === "busy");
    assert.match(busy?.atLast ?? "", /still takes longer than the 300 ms that were promised: it is paused until the rest is there/);
    const { contract } = (await showJob(site.godwit, busy?.jobId ?? "")).result as MigrationResult;
    assert.equal(contract?.policy, "suspend-at-last");
    assert.ok((contract?.limitMs ?? 0) >= 100 && (contract?.limitMs ?? 0) <= 300, "what passes anyway is taken off the 300 ms");
    assert.equal(await maintenance("alpha"), "drained");
    assert.equal(await runningOn(alpha), "");
    const hosts = await Promise.all(twelve.running.map((guest) => assertOneWholeGuest(site.lab, guest)));
    assert.deepEqual(
      hosts,
      twelve.running.map(({ name }) => result.moves.find(({ vm }) => vm === name)?.destination),
    );
  });

  function assertPlan(plan: DrainPlan): void {
    const { possible, entries } = plan;
    assert.ok(possible, JSON.stringify(entries));
    assert.deepEqual([entries.length, entries.filter(({ verdict }) => verdict === "move").length], [12, 11]);
    const of = (vm: string): DrainEntry => entries.find((entry) => entry.vm === vm) ?? assert.fail(vm);
    const hostsOf = (...vms: string[]): number => new Set(vms.map((vm) => of(vm).destination)).size;
    assert.deepEqual([hostsOf("dc1", "dc2"), hostsOf("web1", "web2", "web3")], [2, 3]);
    assert.deepEqual(
      ["mail", "erp", "busy"].map((vm) => of(vm).destination),
      ["delta", "charlie", "bravo"],
    );
    assert.deepEqual([of("files").kind, of("files").storagePool, of("sql").maximumPauseMs], ["shared-nothing", "local", 1000]);
    assert.deepEqual([of("dc1").order, of("dc2").order, of("mail").order, of("spare").order], [1, 2, 3, 11]);
    assert.equal(of("busy").pausePolicy, "suspend-at-last");
    assert.match(of("busy").reason.text, /it changes memory too fast for its pause \(suspend-at-last\): about .*a pause of about/);
    assert.ok((of("busy").predictedMs ?? 0) > 2 * (of("mail").predictedMs ?? 0), "its link is known to be slow");
  }

  it("lets nothing land on the host in maintenance", async () => {
    const { code, stderr } = await site.godwit.try(["vm", "migrate", "web1", "--to", "alpha"]);
    assert.equal(code, 4);
    assert.match(stderr, /in maintenance/);
    assert.match(stderr, /godwit host resume alpha/);
    const placed = await site.godwit.json<Placement>(["placement", "explain", "mail"]);
    assert.equal(placed.hosts.find(({ host }) => host === "alpha")?.verdict, "out");
    assert.notEqual(placed.host, undefined);
  });

  it("puts all of them back with resume --failback now", async () => {
    await site.lab.faults.restoreLink(site.lab.host("bravo"), "migration");
    const job = await site.godwit.json<Job>(["host", "resume", "alpha", "--failback", "now"]);
    const { moves } = job.result as MovesResult;
    assert.deepEqual(
      moves.map(({ vm, destination, network }) => `${vm} ${destination} ${network}`).sort(),
      twelve.running.map(({ name }) => `${name} alpha migration`).sort(),
    );
    assert.equal(await maintenance("alpha"), undefined);
    const hosts = await Promise.all(twelve.running.map((guest) => assertOneWholeGuest(site.lab, guest)));
    assert.deepEqual(new Set(hosts), new Set(["alpha"]));
  });
});
