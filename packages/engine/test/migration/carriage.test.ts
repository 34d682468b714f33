import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { systemClock } from "@godwit/core";
import { openLocalShell } from "../../src/adapters/ssh/local-shell.ts";
import type { JobContext } from "../../src/jobs/job.ts";
import { type CarriedFile, Carrier } from "../../src/migration/carriage.ts";
import type { MigrationInput, Migrations } from "../../src/migration/index.ts";
import { EngineError } from "../../src/model/errors.ts";
import type { NetworkVerdict } from "../../src/model/network.ts";
import type { HypervisorHost } from "../../src/ports/hypervisor.ts";
import { type HostMigration, MoveError, type MoveHooks } from "../../src/ports/migration.ts";

const network = (name: string, rank: number | undefined): NetworkVerdict => ({
  networkId: name,
  network: name,
  rank,
  verdict: rank === undefined ? "out" : rank === 1 ? "chosen" : "fallback",
  reason: { code: "order", text: "as ordered" },
  destinationAddress: "127.0.0.1",
});

const figures = { memoryTotalBytes: 0, memoryProcessedBytes: 0, memoryRemainingBytes: 0, diskTotalBytes: 100, diskRemainingBytes: 50 };

/** Two hosts that are one folder of this machine; what moves files from one to the other is a copy. */
class World {
  readonly shell = openLocalShell();
  readonly notes = new Map<string, unknown>();
  readonly reasons: string[] = [];
  /** Guests by host, as they are now. */
  readonly guests = { a: new Set<string>(), b: new Set<string>() };
  readonly deleted: string[] = [];
  /** Of `move`, by network: what happens instead of arriving. */
  moves: ((hooks: MoveHooks) => Promise<void>)[] = [];
  shells = true;
  startable = true;
  corrupts = false;
  silent: "a" | "b" | undefined;
  readonly folder: string;
  readonly files: CarriedFile[];

  constructor(folder: string) {
    this.folder = folder;
    this.files = ["web.qcow2", "web.memory"].map((name) => ({
      from: join(folder, name),
      pool: "p",
      name,
      to: join(folder, `copy-${name}`),
    }));
  }

  side(which: "a" | "b"): HostMigration {
    const ask = (): void => {
      if (this.silent === which) throw new EngineError("host-lost", `${which} is lost`);
    };
    return {
      startThrowaway: async ({ id, runs, files }: Parameters<HostMigration["startThrowaway"]>[0]) => {
        assert.equal(runs, false);
        assert.deepEqual(
          files,
          this.files.map(({ from }) => from),
        );
        assert.equal((this.notes.get("throwaway") as { id: string }).id, id, "it is not on record");
        if (!this.startable) throw new EngineError("hypervisor", "no emulator");
        this.guests.a.add(id);
      },
      endThrowaway: async (id: string) => {
        ask();
        this.guests[which].delete(id);
      },
      deleteDisks: async (paths: readonly string[]) => {
        this.deleted.push(...paths);
        return [];
      },
      move: async (_: HypervisorHost, { vmId, copies }: Parameters<HostMigration["move"]>[1], hooks: MoveHooks) => {
        assert.deepEqual(
          copies.map(({ target }) => target),
          ["vda", "vdb"],
        );
        await this.moves.shift()?.(hooks);
        for (const { from, to } of this.files) {
          await copyFile(from, to);
          if (this.corrupts) await writeFile(to, "!", { flag: "r+" });
          await truncate(to, 1_000_448); // a disk ends with a whole sector
        }
        this.guests.a.delete(vmId);
        this.guests.b.add(vmId);
        return { ...figures, diskProcessedBytes: 100 };
      },
    } as unknown as HostMigration;
  }

  carrier(): Carrier {
    const migrations = {
      shell: () => (this.shells ? this.shell : undefined),
      options: {
        clock: systemClock,
        hosts: { hypervisor: (id: string) => ({ id, closed: new Promise(() => undefined) }), host: (id: string) => ({ name: id }) },
        open: ({ id }: { readonly id: "a" | "b" }) => this.side(id),
      },
    } as unknown as Migrations;
    const context = {
      input: { vmId: "v", vm: "web", sourceId: "a", source: "alpha", destinationId: "b", destination: "bravo", carryFiles: true },
      signal: AbortSignal.timeout(60_000),
      stopping: AbortSignal.timeout(60_000),
      note: async (name: string, output: unknown) => void this.notes.set(name, output),
      recorded: (name: string) => (this.notes.has(name) ? { output: this.notes.get(name) } : undefined),
      reason: async ({ text }: { readonly text: string }) => void this.reasons.push(text),
      log: () => undefined,
      progress: () => undefined,
    } as unknown as JobContext<MigrationInput>;
    return new Carrier(migrations, context);
  }

  sides(): { source: HostMigration; destination: HostMigration } {
    return { source: this.side("a"), destination: this.side("b") };
  }

  assertNoGuest(): void {
    assert.deepEqual([this.guests.a.size, this.guests.b.size], [0, 0], "a guest is left");
  }
}

const chain = [network("fast", 1), network("slow", 2), network("guests", undefined)];
const refuse = (text: string, connected: boolean) => (): Promise<void> => Promise.reject(new MoveError(text, connected));

describe("files of a VM that stands still", () => {
  let world: World;

  beforeEach(async () => {
    world = new World(await mkdtemp(join(tmpdir(), "godwit-carriage-")));
    for (const { from } of world.files) await writeFile(from, Buffer.alloc(1_000_001, from));
  });
  afterEach(async () => {
    await world.shell[Symbol.asyncDispose]();
    await rm(world.folder, { recursive: true });
  });

  it("go over the network that was chosen, are cut to their length, and are the same; no guest is left", async () => {
    const carried = await world.carrier().carry(world.files, chain);
    assert.equal(carried?.network.network, "fast");
    assert.deepEqual(
      carried.files.map(({ bytes }) => bytes),
      [1_000_001, 1_000_001],
    );
    assert.deepEqual([world.reasons, world.deleted], [[], []]);
    world.assertNoGuest();
  });

  it("go over the next network when not a byte went over the first, whose empty images are removed", async () => {
    world.moves = [refuse("connection refused", false)];
    const carried = await world.carrier().carry(world.files, chain);
    assert.deepEqual(
      carried?.attempts.map(({ network: name, outcome }) => `${name} ${outcome}`),
      ["fast no-connection", "slow carried"],
    );
    assert.deepEqual(
      world.deleted,
      world.files.map(({ to }) => to),
    );
    assert.match(world.reasons.join(), /^fast does not carry the files: .*connection refused/);
    world.assertNoGuest();
  });

  it("go through the server, and it is said why, when nothing can carry them", async () => {
    const why = async (change: Partial<World>, networks = chain): Promise<string> => {
      world.reasons.length = 0;
      Object.assign(world, { shells: true, startable: true, ...change });
      assert.equal(await world.carrier().carry(world.files, networks), undefined);
      world.assertNoGuest();
      return world.reasons.at(-1) ?? "";
    };
    assert.match(
      await why({}, [network("guests", undefined)]),
      /go through the server: no network may carry a migration from alpha to bravo/,
    );
    assert.match(await why({ shells: false }), /go through the server: alpha has no shell/);
    assert.match(await why({ startable: false }), /go through the server: fast: no emulator; slow: no emulator/);
    assert.match(await why({ moves: [refuse("no", true), refuse("no", true)] }), /go through the server: fast: no; slow: no/);
  });

  it("go no other way while the guest that carried them cannot be ended: it stays on record", async () => {
    world.moves = [
      () => {
        for (const id of world.guests.a) world.guests.b.add(id);
        world.silent = "b";
        return Promise.reject(new MoveError("connection refused", false));
      },
    ];
    const carrier = world.carrier();
    await assert.rejects(carrier.carry(world.files, chain), /the guest that carried them is still there: connection refused/);
    world.silent = undefined;
    assert.equal(await carrier.clear(world.sides()), false);
    world.assertNoGuest();
  });

  it("have not arrived when it ends in the middle, or when they are not the same", async () => {
    world.moves = [
      async (hooks) => {
        hooks.progress({ ...figures, diskProcessedBytes: 50 });
        throw new MoveError("No space left on device", true);
      },
    ];
    await assert.rejects(world.carrier().carry(world.files, chain), /did not arrive over fast/);
    world.assertNoGuest();
    world.corrupts = true;
    await assert.rejects(world.carrier().carry(world.files, chain), /their checksums differ/);
    world.assertNoGuest();
  });

  it("leave no guest behind a crash: it is ended on both hosts, as soon as each answers", async () => {
    world.notes.set("throwaway", { id: "left" });
    world.guests.a.add("left");
    world.guests.b.add("left");
    world.silent = "b";
    const carrier = world.carrier();
    assert.equal(await carrier.clear(world.sides()), true, "one did not answer");
    assert.equal(await carrier.clear({ source: world.side("a"), destination: undefined }), true);
    world.silent = undefined;
    assert.equal(await carrier.clear(world.sides()), false);
    world.assertNoGuest();
    assert.equal(await new World(world.folder).carrier().clear(world.sides()), false, "there was none");
  });
});
