/**
 * A group of 200 VMs that are all due at the same minute, on four hosts: how long until each has its point, what the
 * server needs for it, and whether a host ever had more captures at once than its limit. The VMs are real: each a QEMU
 * with a disk of its own and a processor that stands still, so that two cores bear them, and a few guests that write records.
 *
 *   npm run bench -- protect-many [--vms N] [--writers N] [--per-host N]
 */
import type { Job, MemberStatus } from "@godwit/api";
import { type Lab, type LabHost, startLab } from "@godwit/lab";
import { openStore, Vault } from "@godwit/vault";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Godwit, type ServerProcess, startServer } from "../scripts/godwit-process.ts";

const bars = { mebibytes: 500 };
/** Of a machine's memory one QEMU needs about 40 MiB, whatever its guest has. */
const memoryMiB = 16;
const diskMiB = 64;
const hosts = 4;
const roundLimitMs = 1_800_000;
/** Looking costs two processes each time, of which the machine has not many to spare. */
const lookMs = 2000;

const definition = (name: string, disk: string): string => `<domain type='qemu'>
  <name>${name}</name><uuid>${randomUUID()}</uuid>
  <memory unit='MiB'>${memoryMiB}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <devices>
    <controller type='usb' model='none'/>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <memballoon model='none'/>
  </devices>
</domain>`;

/** `$1` is a template: disks that are not all the same, a megabyte of its own in each, in its place behind the metadata. */
const makeDisks = `head -c 1048576 /dev/urandom >"$1.raw"; truncate -s ${diskMiB}M "$1.raw"
qemu-img convert -f raw -O qcow2 "$1.raw" "$1"; rm "$1.raw"; template=$1; shift
first=$(qemu-img map --output=json "$template" | sed -n 's/.*"data": true.*"offset": \\([0-9]*\\).*/\\1/p' | head -n 1)
for disk do cp "$template" "$disk"; dd if=/dev/urandom of="$disk" bs=65536 seek=$((first / 65536)) count=16 conv=notrunc status=none; done`;

/** By few processes: it is not what is measured. */
async function startVms(host: LabHost, names: readonly string[]): Promise<void> {
  const disk = (name: string): string => `/srv/local/${name}.qcow2`;
  const options = { timeoutMs: 300_000 };
  await host.exec(["bash", "-euc", makeDisks, "bash", "/srv/local/template", ...names.map(disk)], options);
  const definitions = names.map((name) => `cat >/srv/local/${name}.xml <<'END'\n${definition(name, disk(name))}\nEND\n`);
  await host.exec(["bash", "-euc", definitions.join("")], options);
  for (let at = 0; at < names.length; at += 10) {
    const commands = names.slice(at, at + 10).map((name) => `define /srv/local/${name}.xml; start ${name} --paused`);
    await host.exec(["virsh", "-q", commands.join("; ")], options);
  }
}

async function makeVault(lab: Lab, godwit: Godwit): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  const [location, passphraseFile] = [join(lab.dir, "vault"), join(lab.dir, "passphrase")];
  await writeFile(passphraseFile, "bench\n", { mode: 0o600 });
  {
    await using store = await openStore(location, { signal, create: true });
    await Vault.init(store, { secret: { kind: "passphrase", passphrase: "bench" }, label: "bench", signal });
  }
  await godwit.run(["vault-location", "add", "main", location, "--passphrase-file", passphraseFile]);
}

/** Follows the members until all have a point since then; the most captures that ran at once on one host. */
async function watchRound({ godwit, server, count }: Bench, since: number): Promise<Round> {
  const vms = await godwit.json<{ name: string; host: string }[]>(["vm", "list"]);
  const hostOf = new Map(vms.map(({ name, host }) => [name, host]));
  let [mostAtOnce, residentMiB, captured] = [0, 0, 0];
  const deadline = since + roundLimitMs;
  while (Date.now() < deadline && captured < count) {
    await sleep(lookMs);
    const running = new Map<string, number>();
    for (const { kind, subject } of await godwit.json<Job[]>(["job", "list", "--state", "running", "--limit", "100"])) {
      const host = hostOf.get(subject.name) ?? "";
      if (kind === "vm.capture") running.set(host, (running.get(host) ?? 0) + 1);
    }
    mostAtOnce = Math.max(mostAtOnce, ...running.values());
    residentMiB = Math.max(residentMiB, await mebibytes(server.pid, "VmRSS"));
    const members = await godwit.json<MemberStatus[]>(["protection", "status"]);
    captured = members.filter(({ lastPointAt }) => lastPointAt !== undefined && Date.parse(lastPointAt) >= since).length;
  }
  return { seconds: (Date.now() - since) / 1000, mostAtOnce, residentMiB, captured };
}

interface Bench {
  readonly godwit: Godwit;
  readonly server: ServerProcess;
  readonly count: number;
  readonly perHost: number;
}

interface Round {
  readonly seconds: number;
  readonly mostAtOnce: number;
  readonly residentMiB: number;
  readonly captured: number;
}

async function mebibytes(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
}

function tell(what: string, { count, perHost }: Bench, round: Round): void {
  const { seconds, mostAtOnce, residentMiB, captured } = round;
  const verdict = (held: boolean): string => (held ? "held" : "MISSED");
  process.stdout.write(
    `${what}: ${captured} of ${count} captured in ${seconds.toFixed(0)} s (${(captured / seconds).toFixed(1)} a second): ${verdict(captured === count)}\n` +
      `  server's memory ${residentMiB.toFixed(0)} MiB at most, bar ${bars.mebibytes}: ${verdict(residentMiB <= bars.mebibytes)}\n` +
      `  ${mostAtOnce} captures at once on one host at most, limit ${perHost}: ${verdict(mostAtOnce <= perHost)}\n`,
  );
}

/** The start of the next minute that is far enough away to be told to the server. */
function nextMinute(): Date {
  const at = new Date(Date.now() + 70_000);
  at.setUTCSeconds(0, 0);
  return at;
}

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      vms: { type: "string", default: "200" },
      writers: { type: "string", default: "4" },
      "per-host": { type: "string", default: "2" },
    },
  });
  const [count, writers, perHost] = [Number(values.vms), Number(values.writers), Number(values["per-host"])];
  await using lab = await startLab({ hosts });
  await using server = await startServer({ stateDir: join(lab.dir, "godwit") });
  const names = Array.from({ length: count - writers }, (_, at) => `vm${String(at).padStart(3, "0")}`);
  await Promise.all(
    lab.hosts.map((host, at) =>
      startVms(
        host,
        names.filter((_, index) => index % hosts === at),
      ),
    ),
  );
  for (let at = 0; at < writers; at += 1) {
    const host = lab.hosts[at % hosts]!;
    const guest = await lab.createGuest({ name: `writer${at}`, host, memoryMiB: 160, recordsPerSecond: 5 });
    await guest.start(host);
    await guest.waitForAgent({ host, timeoutMs: 120_000 });
  }
  process.stderr.write(`${count} VMs run\n`);
  const godwit = new Godwit({ socket: server.socket });
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)]);
  while ((await godwit.json<unknown[]>(["vm", "list"])).length < count) await sleep(200);
  await makeVault(lab, godwit);
  const bench: Bench = { godwit, server, count, perHost };
  const began = Date.now();
  const yearly = ["--cron", "0 0 1 1 *", "--time-zone", "UTC"];
  await godwit.run(["group", "create", "all", "--vault", "main", "--rest", "--per-host", String(perHost), ...yearly]);
  tell("first points", bench, await watchRound(bench, began));
  const due = nextMinute();
  await godwit.run(["group", "edit", "all", "--cron", `${due.getUTCMinutes()} ${due.getUTCHours()} * * *`, "--time-zone", "UTC"]);
  await sleep(due.getTime() - Date.now());
  tell("due at the same minute", bench, await watchRound(bench, due.getTime()));
  process.stdout.write(`the server's memory since its start: ${(await mebibytes(server.pid, "VmHWM")).toFixed(0)} MiB at most\n`);
}
