import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { LocalStore, Vault } from "@godwit/vault";
import { cheap, contentOf, contentSize, grid, MemoryDisk, secret, signal, tuning } from "./support/disks.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-vault-kills-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const machines = 3;
const kills = 6;

/** Resolves when the machine has begun some rounds. */
async function startMachine(seed: number): Promise<Machine> {
  const program = join(import.meta.dirname, "support/victim.ts");
  const child = spawn(process.execPath, ["--conditions=godwit-source", program, folder, String(seed)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
  let rounds = 0;
  for await (const _line of createInterface({ input: child.stdout })) if ((rounds += 1) > 1 + (seed % 3)) break;
  assert.ok(rounds > 1, `machine ${seed} ended by itself: ${complaint}`);
  child.stdout.resume();
  return { child, complaint: () => complaint };
}

interface Machine {
  readonly child: ChildProcess;
  readonly complaint: () => string;
}

async function kill({ child, complaint }: Machine): Promise<void> {
  assert.equal(child.exitCode, null, `it ended by itself: ${complaint()}`);
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

test(
  "processes that capture, delete and collect at once are killed again and again: every listed point comes back",
  { timeout: 240_000 },
  async () => {
    const store = await LocalStore.open(folder, { signal });
    await Vault.init(store, { signal, secret, label: "test", cost: cheap, grid, tuning });
    const running = await Promise.all(Array.from({ length: machines }, (_, i) => startMachine(i)));
    for (let i = 0; i < kills; i += 1) {
      // At any moment of what it does.
      await pause(Math.random() * 100);
      await kill(running[i % machines]!);
      running[i % machines] = await startMachine(machines + i);
    }
    await Promise.all(running.map(kill));
    const vault = await Vault.open(await LocalStore.open(folder, { signal }), secret, { signal, tuning });
    await vault.gc({ signal, maxDeadShare: 0.2 });
    const { points, damaged } = await vault.points({ signal });
    assert.deepEqual(damaged, []);
    assert.ok(points.length > 0);
    for (const point of points) {
      const target = new MemoryDisk(contentSize);
      await vault.restore(point, "vda", target, { signal });
      const number = Number(/content (\d)/.exec(point.reasons.join())![1]);
      assert.ok(Buffer.from(target.content).equals(contentOf(number)), `content ${number} of ${point.name}`);
    }
    assert.deepEqual((await vault.verify({ signal, packs: "all" })).damage, []);
  },
);
