import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import type { Lab } from "../src/lab.ts";
import { listLabs, openLab, startLab } from "../src/start.ts";
import { until } from "../src/process.ts";
import { type Footprint, footprintOf, tracesOf } from "./support/traces.ts";

const packageDir = join(import.meta.dirname, "..");
const node = [process.execPath, "--conditions=godwit-source", "--disable-warning=ExperimentalWarning"] as const;

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `npm run lab -- ARGS`, without npm. */
async function lab(...args: readonly string[]): Promise<Ran> {
  const child = spawn(node[0], [...node.slice(1), join(packageDir, "src/main.ts"), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const said = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, ...said };
}

async function assertGone(footprint: Footprint): Promise<void> {
  let traces: string[] = [];
  const gone = async (): Promise<true | undefined> => {
    traces = await tracesOf(footprint);
    return traces.length === 0 ? true : undefined;
  };
  await until("nothing is left of the lab", gone, { timeoutMs: 15_000, everyMs: 50 }).catch((cause: unknown) => {
    throw new Error(`left: ${traces.join(", ")}`, { cause });
  });
}

const answersPing = async (from: Lab, address: string): Promise<boolean> =>
  (await from.hosts[0]!.exec(["bash", "-c", `exec 3<>/dev/tcp/${address}/22`], { check: false, timeoutMs: 20_000 }).catch(() => undefined))
    ?.code === 0;

describe("labs", () => {
  test("run side by side without seeing each other, and one that ends leaves nothing and takes nothing along", async () => {
    await using stack = new AsyncDisposableStack();
    const [one, other] = await Promise.all([startLab({ hosts: 2 }), startLab({ hosts: 1 })]);
    stack.use(one);
    stack.use(other);
    const addresses = [...one.hosts, ...other.hosts].flatMap((host) => Object.values(host.addresses));
    assert.equal(new Set(addresses).size, addresses.length);
    assert.equal(new Set([...one.hosts, ...other.hosts].map((host) => host.uuid)).size, 3);
    assert.notEqual(one.address, other.address);
    assert.ok(await answersPing(one, one.hosts[1]!.addresses.migration), "its own hosts reach each other");
    assert.ok(!(await answersPing(one, other.hosts[0]!.addresses.migration)), "the other lab's are out of reach");
    const footprint = await footprintOf(one);
    assert.ok(footprint.processes.size > 5 && footprint.namespaces.size > 6, "there is something to look for");
    await one[Symbol.asyncDispose]();
    assert.deepEqual(await tracesOf(footprint), []);
    assert.match((await other.hosts[0]!.virsh(["uri"])).stdout, /qemu:\/\/\/system/);
    assert.ok((await listLabs()).every((record) => record.index !== one.index || record.id !== one.id));
  });

  test("end with a process that is killed, however it dies", async () => {
    const owner = spawn(node[0], [...node.slice(1), join(packageDir, "test/support/owner.ts"), "1"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface(owner.stdout), "line")) as [string];
    const footprint = await footprintOf(JSON.parse(line) as Lab);
    owner.kill("SIGKILL");
    await assertGone(footprint);
  });

  test("that people start stay, are found by name, and come up again after a kill -9 of everything", async (t) => {
    const name = "lifetime-test";
    t.after(() => lab("down", "--name", name));
    const up = await lab("up", "--hosts", "1", "--name", name, "-o", "json");
    assert.equal(up.code, 0, up.stderr);
    const [status] = JSON.parse((await lab("status", "--name", name, "-o", "json")).stdout) as { id: string; hosts: { up: boolean }[] }[];
    assert.deepEqual([status?.id, status?.hosts.map((host) => host.up)], [name, [true]]);
    const again = await lab("up", "--hosts", "1", "--name", name);
    assert.deepEqual([again.code, /is up already.*down --name/.test(again.stderr)], [1, true]);

    const footprint = await footprintOf(await openLab(name));
    for (const pid of footprint.processes.keys()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it died with another
      }
    }
    const second = await lab("up", "--hosts", "1", "--name", name, "-o", "json");
    assert.equal(second.code, 0, second.stderr);
    assert.match((await lab("exec", "--name", name, "alpha", "--", "hostname")).stdout, /^alpha\.lifetime-test$/m);
    const last = await footprintOf(await openLab(name));
    assert.equal((await lab("down", "--name", name)).code, 0);
    assert.deepEqual(await tracesOf(last), []);
    assert.deepEqual([(await lab("status", "--name", name)).code, (await lab("down", "--name", name)).code], [3, 3]);
  });
});
