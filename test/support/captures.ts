import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CaptureResult, Job } from "@godwit/api";
import { type LabGuest, type LabHost, type RecordsReport, verifyImage } from "@godwit/lab";
import { FileTarget, openStore, Vault } from "@godwit/vault";
import { eventually, type Site } from "./site.ts";

export type Captured = Extract<CaptureResult, { outcome: "captured" }>;
type Acknowledged = Awaited<ReturnType<LabGuest["acknowledgements"]>>["acknowledged"];

/** Weak on purpose: tests open it often. */
const cost = { memoryKiB: 1024, passes: 1, lanes: 1 };

const secret = { kind: "passphrase", passphrase: "correct horse" } as const;
const locationOf = (site: Site): string => join(site.lab.dir, "vault");
const passphraseFileOf = (site: Site): string => join(site.lab.dir, "passphrase");

/** Makes a vault that the site's server knows as `main`. */
export async function startVault(site: Site): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  const location = locationOf(site);
  await writeFile(passphraseFileOf(site), `${secret.passphrase}\n`, { mode: 0o600 });
  await using store = await openStore(location, { signal, create: true });
  await Vault.init(store, { secret, label: "test", cost, signal });
  await registerVault(site);
}

export async function registerVault(site: Site): Promise<void> {
  await site.godwit.run(["vault-location", "add", "main", locationOf(site), "--passphrase-file", passphraseFileOf(site)]);
}

/** Captures, and gives the result with what the guest had acknowledged before. */
export async function capture(site: Site, guest: LabGuest, ...more: readonly string[]): Promise<Captured & { acknowledged: Acknowledged }> {
  const { acknowledged } = await guest.acknowledgements();
  const job = await site.godwit.json<Job>(["protect", guest.name, "--vault", "main", ...more]);
  return { ...capturedOf(job), acknowledged };
}

export function capturedOf(job: Job): Captured {
  assert.equal(job.state, "done", JSON.stringify(job.error));
  const result = job.result as CaptureResult;
  assert.equal(result.outcome, "captured", JSON.stringify(result));
  return result;
}

export const modes = (result: Captured): Record<string, string> =>
  Object.fromEntries(result.disks.map(({ target, mode }) => [target, mode]));

/** Runs `look` with a disk of a point as a raw file. */
export async function withRestored<T>(site: Site, pointId: string, disk: string, look: (path: string) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(60_000);
  const folder = await mkdtemp(join(site.lab.dir, "restored-"));
  try {
    await using store = await openStore(locationOf(site), { signal });
    const vault = await Vault.open(store, secret, { signal });
    const point = await vault.point(pointId, { signal });
    const path = join(folder, `${disk}.raw`);
    {
      await using target = await FileTarget.open(path, point.disks.find(({ name }) => name === disk)?.size ?? 0);
      await vault.restore(point, disk, target, { signal, blank: true });
    }
    return await look(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The records on a point's data disk are whole, and hold all that was acknowledged before it was asked for. */
export async function assertWholePoint(
  site: Site,
  { pointId, acknowledged }: { readonly pointId: string; readonly acknowledged: Acknowledged },
): Promise<RecordsReport> {
  const report = await withRestored(site, pointId, "vda", (path) => verifyImage(path, { acknowledgements: acknowledged, format: "raw" }));
  assert.ok(report.ok, report.summary);
  return report;
}

/** No export, no frozen guest, no file of ours, and at most the one checkpoint that the next capture needs. */
export async function assertNoTraces(guest: LabGuest, host: LabHost): Promise<void> {
  await eventually(`no trace of a capture is left on ${host.name}`, async () => {
    const job = await host.virsh(["domjobinfo", guest.name], { check: false });
    return (await tracesOn(host)) === "" && /None/.test(job.stdout);
  });
  assert.equal(await guest.agent("guest-fsfreeze-status", {}, { host }), "thawed");
  const checkpoints = await checkpointsOf(guest, host);
  assert.ok(checkpoints.filter((name) => name.startsWith("godwit-")).length <= 1, checkpoints.join(", "));
}

/** Exports and scratch files of ours on a host. */
export async function tracesOn(host: LabHost): Promise<string> {
  const list = "ls -d /run/godwit-* /var/lib/libvirt/qemu/domain-*/godwit-* /srv/*/godwit-*.scratch 2>/dev/null; true";
  return (await host.exec(["bash", "-c", list], { check: false })).stdout.trim();
}

/** The names of the lists of changes that a qcow2 image holds. */
export async function bitmapsOf(host: LabHost, path: string): Promise<string[]> {
  const { stdout } = await host.exec(["qemu-img", "info", "-U", "--output=json", path]);
  const info = JSON.parse(stdout) as { "format-specific"?: { data?: { bitmaps?: { name: string }[] } } };
  return (info["format-specific"]?.data?.bitmaps ?? []).map(({ name }) => name);
}

export async function checkpointsOf(guest: LabGuest, host: LabHost): Promise<string[]> {
  const { stdout } = await host.virsh(["checkpoint-list", guest.name, "--name"]);
  return stdout.split("\n").flatMap((line) => line.trim() || []);
}
