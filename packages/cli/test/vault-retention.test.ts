import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { VaultCli } from "./support/vault-cli.ts";

interface Verdict {
  readonly id: string;
  readonly keep: boolean;
  readonly reasons: readonly string[];
}

describe("what stays in a vault and what goes", () => {
  let cli: VaultCli;
  const points: string[] = [];

  before(async () => {
    cli = await VaultCli.make();
    for (let day = 0; day < 3; day += 1) {
      await cli.makeImage("vda.raw");
      points.push((await cli.json<{ id: string }>("put", "--name", "web", cli.at("vda.raw"))).id);
    }
  });
  after(() => cli[Symbol.asyncDispose]());

  it("says of each point why it stays or goes, and deletes nothing in a dry run", async () => {
    const plan = await cli.json<{ points: Verdict[] }>("prune", "--keep-last", "1", "--dry-run");
    assert.deepEqual(
      plan.points.map(({ id, keep }) => ({ id, keep })),
      points.toReversed().map((id, i) => ({ id, keep: i === 0 })),
    );
    assert.ok(plan.points.every(({ reasons }) => reasons.length > 0));
    assert.equal((await cli.json<{ points: unknown[] }>("list")).points.length, 3);
    const none = await cli.run(["prune"]);
    assert.equal(none.code, 2);
    assert.match(none.err, /without a rule would delete every recovery point/);
  });

  it("keeps what is held, and refuses to delete it", async () => {
    const hold = await cli.json<{ id: string }>("hold", "add", points[0]!, "--reason", "audit 7");
    const refused = await cli.run(["delete", points[0]!]);
    assert.equal(refused.code, 4);
    assert.match(refused.err, /audit 7/);
    const { points: verdicts } = await cli.json<{ points: Verdict[] }>("prune", "--keep-last", "1", "--dry-run");
    assert.ok(verdicts.find(({ id }) => id === points[0])!.keep);
    const listed = await cli.json<{ id: string }[]>("hold", "list", points[0]!);
    assert.deepEqual(
      listed.map(({ id }) => id),
      [hold.id],
    );
    assert.deepEqual(await cli.json("hold", "release", points[0]!), { released: 1 });
    await cli.json("hold", "lock", points[2]!, "--for", "1d", "--reason", "retention");
    assert.equal((await cli.run(["hold", "release", points[2]!, (await cli.json<{ id: string }[]>("hold", "list"))[0]!.id])).code, 4);
    assert.equal((await cli.run(["hold", "lock", points[2]!, "--reason", "x"])).code, 2);
  });

  it("prunes, and frees the space that only those points needed", async () => {
    const before = await cli.json<{ stored: { data: { bytes: number } } }>("status");
    const pruned = await cli.json<{ deleted: string[] }>("prune", "--keep-last", "1");
    assert.deepEqual(pruned.deleted.toSorted(), points.slice(0, 2).toSorted());
    const freed = await cli.json<{ freedBytes: number }>("gc", "--wait", "1s");
    assert.ok(freed.freedBytes > before.stored.data.bytes / 2);
    assert.equal((await cli.run(["verify"])).code, 0);
    const status = await cli.json<{ points: number; holds: { kind: string }[] }>("status", "--estimate");
    assert.equal(status.points, 1);
    assert.equal(status.holds[0]?.kind, "lock");
    assert.equal((await cli.run(["delete", "web"])).code, 2);
  });

  it("copies to a vault with another key and grid, once", async () => {
    await writeFile(cli.at("second.key"), randomBytes(32));
    await cli.json("init", cli.at("other"), "--grid", "16K", "--key-file", cli.at("second.key"));
    const args = ["copy", "--to", cli.at("other"), "--to-key-file", cli.at("second.key")];
    assert.equal((await cli.json<{ copied: unknown[] }>(...args)).copied.length, 1);
    assert.equal((await cli.json<{ present: unknown[] }>(...args)).present.length, 1);
    await cli.json("restore", "web", cli.at("copy.raw"), "--vault", cli.at("other"), "--key-file", cli.at("second.key"));
    assert.deepEqual(await readFile(cli.at("copy.raw")), await readFile(cli.at("vda.raw")));
  });

  it("seals what is there with a new key, and drops the old one", async () => {
    await cli.json("key", "rekey");
    const rewritten = await cli.json<{ remaining: object; dropped: number[] }>("key", "rekey", "--rewrite");
    assert.deepEqual(rewritten.remaining, {});
    assert.deepEqual(rewritten.dropped, [1]);
    assert.equal((await cli.run(["verify"])).code, 0);
  });
});
