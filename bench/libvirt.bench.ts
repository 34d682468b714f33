/**
 * 1,000 domains of libvirt's test driver with state and XML: the client as it is published beside one virsh that is fed
 * the same questions on its standard input. Same daemon, in turn.
 *
 *   npm run bench -- libvirt [--rounds N]
 *
 * `whole` is a process from its start to its end; `inside` is one round on a connection that is open already. `each`
 * asks every domain for its state, `together` asks once for all.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startLibvirtd, testDriverXml } from "../packages/libvirt/test/private-libvirtd.ts";
import { bin, root, runAll } from "../scripts/run.ts";
import { printRows } from "./report.ts";

const many = 1000;
const names = Array.from({ length: many }, (_, index) => `vm${index}`);
const program = join(root, "bench/programs/list-domains.mjs");

type How = "each" | "together";

/** virsh's cheapest words for it: `list` is how it learns the names. */
const scripts: Readonly<Record<How, string>> = {
  each: `list --all --name\n${names.map((name) => `domstate ${name}\ndumpxml ${name}\n`).join("")}`,
  together: `domstats --state\n${names.map((name) => `dumpxml ${name}\n`).join("")}`,
};

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly wallMs: number;
}

async function run(command: string, args: readonly string[], input = ""): Promise<Ran> {
  const began = performance.now();
  const child = spawn(command, args);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  const wallMs = performance.now() - began;
  if (code !== 0) throw new Error(`${command} failed (${code}): ${output.stderr}`);
  return { ...output, wallMs };
}

/** Both must have told the same: every domain's XML. */
function complete({ stdout, ...rest }: Ran): Ran {
  const told = stdout.split("<name>").length - 1;
  if (told !== many) throw new Error(`${told} of ${many} domains were listed`);
  return { stdout, ...rest };
}

const ourWhole = async (uri: string, how: How): Promise<number> => complete(await run(process.execPath, [program, uri, how])).wallMs;
const virshWhole = async (uri: string, how: How): Promise<number> => complete(await run("virsh", ["-c", uri], scripts[how])).wallMs;

async function ourInside(uri: string, how: How, rounds: number): Promise<number[]> {
  // The first round is warm-up, as it is for virsh.
  const { stderr } = await run(process.execPath, [program, uri, how, String(rounds + 1)]);
  return stderr.trim().split("\n").slice(1).map(Number);
}

async function virshInside(uri: string, how: How, rounds: number): Promise<number[]> {
  const virsh = spawn("virsh", ["-c", uri]);
  const times: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const began = performance.now();
    await answered(virsh, scripts[how], `round ${round} is over`);
    times.push(performance.now() - began);
  }
  virsh.stdin.end();
  await once(virsh, "close");
  return times.slice(1);
}

/** Gives virsh commands, and waits until it has printed `end` after them. */
async function answered(virsh: ChildProcessWithoutNullStreams, commands: string, end: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let tail = "";
  const read = (chunk: Buffer): void => {
    tail = (tail + chunk.toString("latin1")).slice(-chunk.length - end.length);
    if (tail.includes(end)) resolve();
  };
  virsh.stdout.on("data", read);
  virsh.stdin.write(`${commands}echo ${end}\n`);
  await promise;
  virsh.stdout.off("data", read);
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string", default: "9" } } });
  const rounds = Number(values.rounds);
  await runAll([["build", bin("tsc"), "-b", "packages/libvirt"]]);
  await using daemon = await startLibvirtd();
  const uri = `test+unix://${daemon.file("node.xml", testDriverXml(many))}?socket=${daemon.socket}`;
  for (const how of ["each", "together"] as const) {
    const whole = { ours: [] as number[], theirs: [] as number[] };
    await ourWhole(uri, how);
    await virshWhole(uri, how);
    for (let round = 0; round < rounds; round += 1) {
      whole.ours.push(await ourWhole(uri, how));
      whole.theirs.push(await virshWhole(uri, how));
    }
    const inside = { ours: await ourInside(uri, how, rounds), theirs: await virshInside(uri, how, rounds) };
    printRows(
      [
        { what: `${many} domains, states ${how}, whole`, ...whole, unit: "ms", bar: 1 },
        { what: `${many} domains, states ${how}, inside`, ...inside, unit: "ms", bar: 1 },
      ],
      ["ours", "virsh"],
    );
  }
  process.stdout.write("what binds: the daemon, which parses the node's file for every connection and writes each domain's XML\n");
}
