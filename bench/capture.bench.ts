/**
 * The same running guest captured by `godwit protect` and by Debian's virtnbdbackup: all of a disk, nothing changed,
 * about 100 MiB changed, and the disk brought back. Whole commands by the wall clock. virtnbdbackup runs on the host
 * itself and copies; Godwit reads from elsewhere (through SSH, over plain TCP and over TLS), and deduplicates, compresses
 * and encrypts. Then what the guest's own writes take during a full capture over before, as QEMU counts them, of both: with
 * what they keep on the disk that the guest is on, with it elsewhere, and read at a limited rate; and a capture after a
 * live migration beside one without.
 *
 *   npm run bench -- capture [--rounds N] [--mib N] [--ways ssh,tcp,tls] [--only speed,restore,guest,moved]
 */
import type { BackupRoute, CaptureResult, Job, Network } from "@godwit/api";
import { type Lab, type LabGuest, type LabHost, startLab } from "@godwit/lab";
import { openStore, Vault } from "@godwit/vault";
import { copyFile, mkdir, mkdtempDisposable, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Godwit, startServer } from "../scripts/godwit-process.ts";
import { restoreMany, restoreOurs, restoreTheirs } from "./capture/restore.ts";
import { firstDisk, type Writes, writesAtRest, writesDuring } from "./capture/latency.ts";
import { median, printRows } from "./report.ts";

const changedMiB = 100;

interface Wanted {
  readonly rounds: number;
  /** The size of the disk that is captured. */
  readonly mib: number;
}

/** Says what it took at once, too: who measures for long wants to see something. */
async function timed(what: string, run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await run();
  const ms = performance.now() - began;
  process.stderr.write(`${what}: ${Math.round(ms)} ms\n`);
  return ms;
}

/** A guest whose second disk holds what machines hold: programs and texts, as far as the machine has some. */
async function startGuest(lab: Lab, host: LabHost, mib: number): Promise<LabGuest> {
  const guest = await lab.createGuest({ name: "bench", host, recordsPerSecond: 20, extraDisks: [{ sizeMiB: mib }] });
  const path = guest.record.disks.find(({ target }) => target === "vdb")?.path ?? "";
  const fill = `(tar -c /usr/lib /usr/share 2>/dev/null | head -c $((${mib} * 1048576 * 3 / 4)) >"$1.raw") || true
truncate -s ${mib}M "$1.raw"; qemu-img convert -f raw -O qcow2 "$1.raw" "$1"; rm "$1.raw"`;
  await host.exec(["bash", "-c", fill, "bash", path], { timeoutMs: 120_000 });
  await guest.start(host);
  await guest.waitForAgent({ host });
  return guest;
}

async function change({ guest, host, mib }: Bench): Promise<void> {
  const script = `dd if=/dev/urandom of=/dev/vdb bs=1M count=${changedMiB} seek=${Math.floor(mib / 2)} 2>/dev/null; sync`;
  await guest.exec(["/bin/sh", "-c", script], { host, timeoutMs: 60_000 });
}

type Captured = Extract<CaptureResult, { readonly outcome: "captured" }>;

interface Bench extends Wanted {
  readonly lab: Lab;
  readonly godwit: Godwit;
  readonly guest: LabGuest;
  readonly host: LabHost;
}

interface Timings {
  readonly full: number[];
  readonly nothing: number[];
  readonly some: number[];
  readonly restore: number[];
}

/** What the guest felt of the captures. */
interface Felt {
  readonly frozenMs: number[];
  readonly writes: string[];
}

function describeWrites({ writeBeforeMs, writeMs, slowedTo }: Captured["guest"]): string {
  const slowed = slowedTo === undefined ? "" : `, read at ${Math.round(slowedTo / 2 ** 20)} MiB/s for that`;
  return `${writeBeforeMs ?? "?"} → ${writeMs ?? "?"}${slowed}`;
}

type Way = BackupRoute["kind"];
const ways: readonly Way[] = ["ssh", "tcp", "tls"];

/** Has captures and restores go that way. */
async function choose({ lab, godwit }: Bench, way: Way): Promise<void> {
  const networks = await godwit.json<Network[]>(["network", "list"]);
  const network = networks.find(({ subnets }) => subnets.includes(lab.network("management").ipv4));
  if (!network) throw new Error("the lab's management network was not found");
  const credentials = join(lab.dir, "backup-tls");
  await mkdir(credentials, { recursive: true });
  for (const [from, to] of [
    ["cacert.pem", "ca-cert.pem"],
    ["clientcert.pem", "client-cert.pem"],
    ["clientkey.pem", "client-key.pem"],
  ] as const) {
    await copyFile(join(lab.pkiPath, from), join(credentials, to));
  }
  const flags = { ssh: ["", ""], tcp: [network.id, ""], tls: ["", credentials] }[way];
  await godwit.run(["backup-traffic", "set", "--unencrypted", flags[0] ?? "", "--tls-credentials", flags[1] ?? ""]);
}

async function makeVault({ lab, godwit }: Bench, name: string, location: string = join(lab.dir, name)): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  const passphraseFile = join(lab.dir, "passphrase");
  await writeFile(passphraseFile, "bench\n", { mode: 0o600 });
  {
    await using store = await openStore(location, { signal, create: true });
    await Vault.init(store, { secret: { kind: "passphrase", passphrase: "bench" }, label: "bench", signal });
  }
  await godwit.run(["vault-location", "add", name, location, "--passphrase-file", passphraseFile]);
}

async function ours(bench: Bench, way: Way): Promise<Timings & Felt> {
  const { godwit, guest, host, rounds } = bench;
  await choose(bench, way);
  const taken: Timings & Felt = { full: [], nothing: [], some: [], restore: [], frozenMs: [], writes: [] };
  for (let round = 0; round < rounds; round += 1) {
    const name = `vault-${way}-${round}`;
    await makeVault(bench, name);
    let last: CaptureResult | undefined;
    const capture = async (): Promise<void> => {
      last = (await godwit.json<Job>(["protect", guest.name, "--vault", name])).result as CaptureResult;
      if (last.outcome !== "captured") return;
      if (last.route?.kind !== way) throw new Error(`it went by ${last.route?.kind ?? "nobody knows"} and not by ${way}`);
      taken.frozenMs.push(last.frozenMs);
      taken.writes.push(describeWrites(last.guest));
    };
    taken.full.push(await timed(`${way} full`, capture));
    taken.nothing.push(await timed(`${way} nothing changed`, capture));
    await change(bench);
    taken.some.push(await timed(`${way} ${changedMiB} MiB changed`, capture));
    if (last?.outcome !== "captured") throw new Error("the capture was parked");
    const { pointId } = last;
    taken.restore.push(
      await timed(`${way} restore`, () => godwit.run(["recover", "disk", pointId, "vdb", "--to", host.name, "--storage", "shared"])),
    );
    await dropCheckpoints(guest, host);
  }
  return taken;
}

async function theirs(bench: Bench, compress: boolean): Promise<Timings> {
  const { guest, host, rounds } = bench;
  const taken: Timings = { full: [], nothing: [], some: [], restore: [] };
  for (let round = 0; round < rounds; round += 1) {
    await dropCheckpoints(guest, host);
    const folder = `/srv/shared/theirs-${compress ? "lz4" : "plain"}-${round}`;
    const run = (level: string): Promise<number> =>
      timed(`virtnbdbackup ${compress ? "lz4 " : ""}${level}`, () =>
        host.exec(["virtnbdbackup", "-n", "-d", guest.name, "-l", level, "-o", folder, ...(compress ? ["-z"] : [])], {
          timeoutMs: 120_000,
        }),
      );
    taken.full.push(await run("full"));
    taken.nothing.push(await run("inc"));
    await change(bench);
    taken.some.push(await run("inc"));
    taken.restore.push(
      await timed("virtnbdrestore", () =>
        host.exec(["virtnbdrestore", "-n", "-d", "vdb", "-i", folder, "-o", `${folder}-restored`], { timeoutMs: 120_000 }),
      ),
    );
    await host.exec(["rm", "-rf", folder, `${folder}-restored`]);
  }
  return taken;
}

/** Neither tool works beside checkpoints of the other. */
async function dropCheckpoints(guest: LabGuest, host: LabHost): Promise<void> {
  const { stdout } = await host.virsh(["checkpoint-list", guest.name, "--name", "--topological"]);
  const names = stdout.split("\n").flatMap((line) => line.trim() || []);
  for (const name of names.toReversed()) await host.virsh(["checkpoint-delete", guest.name, name]);
}

const restMs = 8000;

/** Where copies go and how fast they are made, while the guest's writes are watched. */
interface FeltCase {
  readonly what: string;
  readonly folder: string;
  readonly flags?: readonly string[];
}

interface FeltFigures {
  /** The 99th percentile of the guest's writes during the copy over just before. */
  readonly ratios: number[];
  readonly p99Ms: number[];
  readonly tookMs: number[];
}

const noFigures = (): FeltFigures => ({ ratios: [], p99Ms: [], tookMs: [] });

async function watched({ host, guest }: Bench, into: FeltFigures, what: string, capture: () => Promise<unknown>): Promise<void> {
  await dropCheckpoints(guest, host);
  const disk = await firstDisk(host, guest.name);
  const before = await writesAtRest(disk, restMs);
  const began = performance.now();
  const { writes: during } = await writesDuring(disk, capture);
  into.tookMs.push(performance.now() - began);
  into.p99Ms.push(during.p99Ms);
  into.ratios.push(during.p99Ms / before.p99Ms);
  const told = ({ count, p99Ms }: Writes): string => `${p99Ms.toFixed(2)} ms of ${count}`;
  process.stdout.write(`${what}: p99 of the guest's writes ${told(before)} → ${told(during)}, ${Math.round(into.tookMs.at(-1)!)} ms\n`);
}

/** What full captures did to the 99th percentile of the guest's writes, of both tools: during over just before. */
async function guestWrites(bench: Bench): Promise<void> {
  const { lab, godwit, guest, host, rounds } = bench;
  await choose(bench, "ssh");
  await using memory = await mkdtempDisposable("/dev/shm/godwit-bench-");
  const cases: readonly FeltCase[] = [
    { what: "kept on the guest's disk", folder: join(lab.dir, "felt") },
    { what: "kept elsewhere (memory)", folder: memory.path },
    { what: "the same, read at 80 MB/s", folder: memory.path, flags: ["--bandwidth", "80M"] },
  ];
  const figures = cases.map(() => ({ ours: noFigures(), theirs: noFigures() }));
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, { what, folder, flags }] of cases.entries()) {
      const [mine, copy] = [join(folder, `vault-${round}-${at}`), join(folder, `copy-${round}`)];
      await makeVault(bench, `felt-${round}-${at}`, mine);
      const capture = (): Promise<string> => godwit.run(["protect", guest.name, "--vault", `felt-${round}-${at}`, ...(flags ?? [])]);
      await watched(bench, figures[at]!.ours, `godwit, ${what}`, capture);
      await rm(mine, { recursive: true });
      if (flags) continue;
      const copying = (): Promise<unknown> =>
        host.exec(["virtnbdbackup", "-n", "-d", guest.name, "-l", "full", "-o", copy], { timeoutMs: 120_000 });
      await watched(bench, figures[at]!.theirs, `virtnbdbackup, ${what}`, copying);
      await host.exec(["rm", "-rf", copy]);
    }
  }
  await dropCheckpoints(guest, host);
  const one = Array.from({ length: rounds }, () => 1);
  for (const [at, { what, flags }] of cases.entries()) {
    // What is read slowly stands beside the copy at full speed.
    const [{ ours }, { theirs }] = [figures[at]!, figures[flags ? at - 1 : at]!];
    printRows(
      [{ what: `p99 of the guest's writes over before, ${what}`, ours: ours.ratios, theirs: one, unit: "times", bar: 1.5 }],
      ["godwit", "before"],
    );
    const beside = { what: `p99 of the guest's writes, ${what}`, ours: ours.p99Ms, theirs: theirs.p99Ms, unit: "ms", bar: 1 };
    printRows([beside], ["godwit", "virtnbdbackup"]);
    process.stdout.write(`  it took ${Math.round(median(ours.tookMs))} ms, virtnbdbackup ${Math.round(median(theirs.tookMs))} ms\n`);
  }
}

/** Captures with nothing changed: the third since the guest has been where it is, and the first after it moved. */
async function afterMoves(bench: Bench): Promise<void> {
  const { lab, godwit, guest, rounds } = bench;
  await makeVault(bench, "moved");
  const capture = (): Promise<string> => godwit.run(["protect", guest.name, "--vault", "moved"]);
  await capture();
  const [without, after]: number[][] = [[], []];
  const hosts = [lab.hosts[1]!, lab.hosts[0]!];
  for (let at = 0; at < 2 * rounds; at += 1) {
    await capture();
    without!.push(await timed("where it was", capture));
    const to = hosts[at % hosts.length]!;
    await godwit.run(["vm", "migrate", guest.name, "--to", to.name]);
    after!.push(await timed("after a live migration", capture));
  }
  const row = { what: "capture after a live migration, nothing changed", ours: after!, theirs: without!, unit: "ms", bar: 1.1 };
  printRows([row], ["after", "without"]);
}

async function speed(bench: Bench, wanted: readonly Way[]): Promise<void> {
  const { guest, host, mib } = bench;
  const plain = await theirs(bench, false);
  const lz4 = await theirs(bench, true);
  await dropCheckpoints(guest, host);
  for (const way of wanted) {
    const mine = await ours(bench, way);
    const row = (what: string, ours: number[], theirs: number[], bar: number): Parameters<typeof printRows>[0][number] => ({
      what: `${way}: ${what}`,
      ours,
      theirs,
      unit: "ms",
      bar,
    });
    printRows(
      [
        row(`full, ${mib} MiB, beside an uncompressed copy`, mine.full, plain.full, 1),
        row(`full, ${mib} MiB, beside lz4`, mine.full, lz4.full, 1 / 1.5),
        row("nothing changed", mine.nothing, plain.nothing, 0.5),
        row(`${changedMiB} MiB changed`, mine.some, plain.some, 0.5),
        row("restore to the host", mine.restore, plain.restore, 1 / 2.5),
      ],
      ["godwit", "virtnbdbackup"],
    );
    process.stdout.write(`${way}: frozen, ms: ${mine.frozenMs.join(", ")}\n`);
    process.stdout.write(`${way}: the guest's writes before → during, ms: ${mine.writes.join("; ")}\n`);
  }
}

/** Only the restores of `speed`, one beside the other, and where their time went. */
async function restores(bench: Bench, wanted: readonly Way[], pid: number): Promise<void> {
  const { godwit, guest, host, rounds } = bench;
  const folder = "/srv/shared/theirs";
  const copy = (level: string): Promise<unknown> =>
    host.exec(["virtnbdbackup", "-n", "-d", guest.name, "-l", level, "-o", folder], { timeoutMs: 120_000 });
  await copy("full");
  await change(bench);
  await copy("inc");
  await dropCheckpoints(guest, host);
  await makeVault(bench, "restores");
  const protect = ["protect", guest.name, "--vault", "restores"];
  await godwit.run(protect);
  await change(bench);
  const { pointId } = (await godwit.json<Job>(protect)).result as Captured;
  const theirs: number[] = [];
  const ours = new Map<Way, number[]>(wanted.map((way) => [way, []]));
  for (let round = 0; round < rounds; round += 1) {
    theirs.push(await restoreTheirs({ godwit, host, pointId, folder }));
    for (const [way, taken] of ours) {
      await choose(bench, way);
      taken.push(await restoreOurs({ godwit, host, pointId, folder }, way));
    }
  }
  for (const [way, taken] of ours)
    printRows([{ what: `${way}: restore to the host`, ours: taken, theirs, unit: "ms", bar: 1 / 2.5 }], ["godwit", "virtnbdrestore"]);
  const mib = await restoreMany({ godwit, host, pointId, folder }, { count: 6, pid });
  process.stdout.write(`6 restores asked for at once: the server took ${mib.toFixed(0)} MiB at most\n`);
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      mib: { type: "string", default: "1024" },
      ways: { type: "string", default: ways.join(",") },
      only: { type: "string" },
    },
  });
  const [rounds, mib] = [Number(values.rounds), Number(values.mib)];
  const wanted = ways.filter((way) => values.ways.split(",").includes(way));
  const does = (part: string): boolean => values.only === undefined || values.only.split(",").includes(part);
  await using lab = await startLab({ hosts: does("moved") ? 2 : 1 });
  const [host] = lab.hosts;
  if (!host) throw new Error("the lab has no host");
  await using server = await startServer({ stateDir: join(lab.dir, "godwit") });
  const godwit = new Godwit({ socket: server.socket });
  for (const one of lab.hosts) await godwit.run(["host", "add", one.name, lab.uri(one)]);
  await godwit.run(["network", "probe"]);
  const guest = await startGuest(lab, host, mib);
  const bench: Bench = { lab, godwit, guest, host, rounds, mib };
  if (does("speed")) await speed(bench, wanted);
  if (values.only?.split(",").includes("restore")) await restores(bench, wanted, server.pid);
  if (does("guest")) await guestWrites(bench);
  if (does("moved")) await afterMoves(bench);
}
