/** The second act: a guest is captured, moved in the middle of a capture, lost with its host, and recovered. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CaptureResult, Job, RecoverResult } from "@godwit/api";
import { type Acknowledgement, type LabHost, verifyImage } from "@godwit/lab";
import { renderTable } from "../../packages/cli/src/output/table.ts";
import { formatBytes, formatDuration } from "../../packages/cli/src/output/units.ts";
import { heading, say, type Stage } from "./stage.ts";

/** New data on the second disk before a capture, and the hosts' way to the vault: together they make a capture last seconds. */
const newDataMiB = 64;
const slowMbit = 120;

/** A disk beside the records. */
export const secondDisk = { sizeMiB: newDataMiB };

export const recoveredName = "demo-recovered";

/** Resolves to whether the recovered guest has every record of its recovery point. */
export async function showProtection(stage: Stage): Promise<boolean> {
  const { lab, guest } = stage;
  const first = await guest.host();
  const [second, third] = lab.hosts.filter((host) => host !== first);
  if (!second || !third) throw new Error("the demonstration needs three hosts");
  await makeVault(stage);
  heading(`${guest.name} is captured while it writes: all that its disks hold, the first time`);
  await writeNewData(stage);
  await capture(stage);
  await moveInTheMiddle(stage, first, second);
  heading(`Captured again on ${second.name}: only what changed`);
  const { acknowledged } = await guest.acknowledgements();
  await capture(stage);
  await loseHost(stage, second);
  const whole = await recover(stage, third, acknowledged);
  await showCaptures(stage);
  return whole;
}

async function makeVault({ lab, godwit, signal }: Stage): Promise<void> {
  heading("A vault: deduplicated, compressed, encrypted; a directory here, or S3 or Azure Blob");
  const [location, passphraseFile] = [join(lab.dir, "vault"), join(lab.dir, "passphrase")];
  await writeFile(passphraseFile, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600, signal });
  await godwit.run(["vault", "init", location, "--passphrase-file", passphraseFile]);
  await godwit.run(["vault-location", "add", "main", location, "--passphrase-file", passphraseFile]);
}

async function writeNewData({ guest, signal }: Stage): Promise<void> {
  const script = `dd if=/dev/urandom of=/dev/vdb bs=1M count=${newDataMiB} 2>/dev/null; sync`;
  await guest.exec(["/bin/sh", "-c", script], { signal, timeoutMs: 60_000 });
}

async function capture({ godwit, guest }: Stage): Promise<void> {
  await godwit.run(["protect", guest.name, "--vault", "main"]);
}

async function moveInTheMiddle(stage: Stage, from: LabHost, to: LabHost): Promise<void> {
  const { lab, godwit, guest, signal } = stage;
  heading(`Captured again after ${newDataMiB} MiB of new data, and migrated in the middle of that: the capture parks and goes on`);
  await writeNewData(stage);
  await lab.faults.slowLink(from, "management", { mbit: slowMbit, signal });
  say(`(${from.name}'s management network is held to ${slowMbit} Mbit/s, so that there is a middle)`);
  const id = (await godwit.run(["protect", guest.name, "--vault", "main", "--no-wait"])).trim();
  await untilHalfRead(stage, id);
  await godwit.run(["vm", "migrate", guest.name, "--to", to.name]);
  const continuedBy = await followUp(stage, id);
  await godwit.run(["job", "watch", continuedBy]);
  await lab.faults.restoreLink(from, "management", { signal });
}

async function untilHalfRead({ godwit, signal }: Stage, id: string): Promise<void> {
  for (;;) {
    const job = await godwit.json<Job>(["job", "show", id]);
    const { phase, diskRemainingBytes = Infinity } = job.progress ?? {};
    if (phase === "reading vdb" && diskRemainingBytes < (newDataMiB << 20) / 2) return;
    if (job.endedAt !== undefined) throw new Error(`the capture was over before it could be disturbed: ${JSON.stringify(job.error)}`);
    await sleep(50, undefined, { signal });
  }
}

/** The job that goes on for the one that parked. */
async function followUp({ godwit }: Stage, id: string): Promise<string> {
  await godwit.run(["job", "watch", id]);
  const { result } = await godwit.json<Job>(["job", "show", id]);
  const captured = result as CaptureResult;
  if (captured.outcome !== "parked") throw new Error(`capture ${id} was to park for the migration and did not`);
  return captured.continuedBy;
}

async function loseHost({ lab, guest, signal }: Stage, host: LabHost): Promise<void> {
  heading(`${host.name} loses its power, and ${guest.name} with it`);
  await guest.waitForRecords(20, { signal });
  await lab.faults.crashHost(host, { signal });
  say(`${host.name} is gone; what ${guest.name} wrote since its last capture is lost`);
}

async function recover(stage: Stage, host: LabHost, captured: readonly Acknowledgement[]): Promise<boolean> {
  const { godwit, guest, signal } = stage;
  heading(`Its newest recovery point becomes a VM on ${host.name}`);
  await godwit.run(["point", "list", guest.name]);
  await godwit.run(["recover", "vm", guest.name, "--to", host.name, "--storage", "local", "--name", recoveredName]);
  const disk = await recordsDisk(stage);
  const report = await verifyImage(host.path(disk), { acknowledgements: captured, format: "qcow2", signal });
  say(`${report.ok ? "whole up to the point" : "DAMAGED"}: ${report.summary}`);
  const boots = (await guest.acknowledgements()).starts.length;
  await godwit.run(["vm", "start", recoveredName]);
  say(`it goes on writing after record ${await nextBoot(stage, boots)}`);
  return report.ok;
}

async function recordsDisk({ godwit }: Stage): Promise<string> {
  const jobs = await godwit.json<readonly Job[]>(["job", "list"]);
  const recovered = jobs.find(({ kind }) => kind === "vm.recover")?.result as RecoverResult | undefined;
  const path = recovered?.disks.find(({ target }) => target === "vda")?.path;
  if (path === undefined) throw new Error("the recovery does not say where its disks are");
  return path;
}

/** Waits until the guest's workload has started once more; the last record that it found on its disk. */
async function nextBoot({ guest, signal }: Stage, boots: number): Promise<number> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(120_000)]);
  for (;;) {
    const start = (await guest.acknowledgements()).starts[boots];
    if (start) {
      await guest.waitForRecords(5, { signal });
      return start.after;
    }
    await sleep(100, undefined, { signal: deadline });
  }
}

/** Every capture, oldest first: what it read, what the vault grew by, and why. */
async function showCaptures({ godwit }: Stage): Promise<void> {
  heading("What the captures read and stored, and why");
  const jobs = await godwit.json<readonly Job[]>(["job", "list", "--limit", "100"]);
  const results = jobs.flatMap(({ kind, result }) => (kind === "vm.capture" && result !== undefined ? [result as CaptureResult] : []));
  const rows = results.toReversed().flatMap((result, at) => captureRows(String(at + 1), result));
  const table = renderTable(
    [
      { title: "CAPTURE", value: (row) => row.capture },
      { title: "HOST", value: (row) => row.host },
      { title: "DISK", value: (row) => row.disk },
      { title: "READ", value: (row) => row.read, align: "right" },
      { title: "STORED", value: (row) => row.stored, align: "right" },
      { title: "FROZEN", value: (row) => row.frozen, align: "right" },
      { title: "WHY", value: (row) => row.why },
    ],
    rows,
  );
  say(table.trimEnd().replace(/^/gm, "  "));
}

interface CaptureRow {
  readonly capture: string;
  readonly host?: string;
  readonly disk?: string;
  readonly read?: string;
  readonly stored?: string;
  readonly frozen?: string;
  readonly why: string;
}

function captureRows(capture: string, result: CaptureResult): CaptureRow[] {
  if (result.outcome === "parked") return [{ capture, why: `parked for '${result.for.title}'; the next one goes on for it` }];
  const { host, storedBytes, frozenMs, adoptedPacks } = result;
  const takenOver = adoptedPacks > 0 ? "; what the parked one had stored is taken over" : "";
  return result.disks.map((disk, at) => ({
    capture: at === 0 ? capture : "",
    host: at === 0 ? host : "",
    disk: disk.target,
    read: formatBytes(disk.readBytes),
    // The vault's growth is that of the whole point: disks may share chunks.
    stored: at === 0 ? formatBytes(storedBytes) : "",
    frozen: at === 0 ? formatDuration(frozenMs) : "",
    why: `${disk.reason.text.replace(`${disk.target}: `, "")}${at === 0 ? takenOver : ""}`,
  }));
}
