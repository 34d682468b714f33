import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError, type HostMigration, type MigrationInput, type Migrations } from "../../src/index.ts";
import { findAndSettle, type SettleOptions } from "../../src/migration/settle.ts";
import type { Sighting } from "../../src/ports/migration.ts";

const ends = { sourceId: "alpha", source: "alpha", destinationId: "bravo", destination: "bravo" };
const input: MigrationInput = { vmId: "v", vm: "web", ...ends, peerToPeer: false, autoConverge: false };
const { signal } = new AbortController();
const options: SettleOptions = { signal, patienceMs: 5 * 60_000, log: () => undefined };

const running: Sighting = { presence: "running", moving: false };
const moving: Sighting = { presence: "running", moving: true };
const paused: Sighting = { presence: "paused", by: "other", moving: false };
const incoming: Sighting = { presence: "incoming" };

/** Hosts that say one thing after the other; what is done to them is on the list, and they change as `then` says. */
function hosts(
  says: Record<"alpha" | "bravo", (elapsedMs: number) => Sighting>,
  then: (act: string) => void = () => undefined,
): { readonly migrations: Migrations; readonly acts: string[] } {
  let now = 0;
  const acts: string[] = [];
  const did = (act: string) => (): Promise<void> => {
    acts.push(act);
    then(act);
    return Promise.resolve();
  };
  const open = (id: "alpha" | "bravo"): Partial<HostMigration> => ({
    sighting: () => Promise.resolve(says[id](now)),
    resume: did(`resume ${id}`),
    discard: did(`discard ${id}`),
    forget: did(`forget ${id}`),
  });
  const clock = {
    now: () => now,
    monotonic: () => now,
    sleep: (ms: number) => {
      now += ms;
      return Promise.resolve();
    },
  };
  return { migrations: { options: { clock, hosts: { hypervisor: (id: string) => id }, open } } as unknown as Migrations, acts };
}

const hour = 60 * 60_000;

describe("settling a live move that ended in any way", () => {
  it("waits for a move between peers as long as the source says that it goes on", async () => {
    const over = (ms: number): boolean => ms > 2 * hour;
    const { migrations } = hosts({
      alpha: (ms) => (over(ms) ? { presence: "absent" } : moving),
      bravo: (ms) => (over(ms) ? running : incoming),
    });
    assert.equal((await findAndSettle(migrations, { ...input, peerToPeer: true }, options)).at, "destination");
  });

  it("gives up after its patience otherwise: driven by the server, cancelled, or with a host that is silent", async () => {
    const lost = (error: unknown): boolean => error instanceof EngineError && error.kind === "host-lost";
    const stuck = hosts({ alpha: () => moving, bravo: () => incoming }).migrations;
    await assert.rejects(findAndSettle(stuck, input, options), lost);
    const peers = { ...input, peerToPeer: true };
    await assert.rejects(findAndSettle(stuck, peers, { ...options, cancel: AbortSignal.abort() }), lost);
    const silent = hosts({ alpha: () => moving, bravo: () => ({ presence: "unknown", text: "no answer" }) }).migrations;
    await assert.rejects(findAndSettle(silent, peers, options), lost);
  });

  it("removes the source's half of a guest that the move had suspended, and of no other that somebody paused", async () => {
    let source: Sighting = paused;
    const { migrations, acts } = hosts({ alpha: () => source, bravo: () => running }, () => void (source = { presence: "absent" }));
    await assert.rejects(findAndSettle(migrations, input, options), /paused by somebody else/);
    assert.deepEqual(acts, []);
    assert.equal((await findAndSettle(migrations, input, { ...options, suspended: true })).at, "destination");
    assert.deepEqual(acts, ["forget alpha"]);
  });
});
