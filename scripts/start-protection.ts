import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Job, RecoveryPoint } from "@godwit/api";
import { type Lab, type LabGuest, type LabHost, verifyImage } from "@godwit/lab";
import type { Godwit } from "./godwit-process.ts";

/** The name of the VM that was recovered from the vault. */
export const recoveredName = (guest: LabGuest): string => `${guest.name}-recovered`;

export interface Shown {
  readonly lab: Lab;
  readonly guest: LabGuest;
  readonly godwit: Godwit;
  readonly heading: (text: string) => void;
  readonly say: (text: string) => void;
}

/**
 * A guest that writes is captured, moves in the middle of the next capture, is captured on the other host by its
 * changes alone, loses its host, and is recovered on a third one. Says whether its records are whole up to the point.
 */
export async function showProtection(shown: Shown): Promise<boolean> {
  const { lab, guest, godwit, heading, say } = shown;
  heading(`${guest.name} is captured into a vault while it writes: held still for a moment, read through SSH`);
  await makeVault(lab, godwit);
  await godwit.run(["protect", guest.name, "--vault", "main"]);
  const [from, to, third] = await threeHosts(lab, guest);
  heading(`It must move in the middle of the next capture: that is parked, and goes on at ${to.name}`);
  await parkAndMove(shown, to);
  heading("Captured again: only its changes since then");
  const { acknowledged } = await guest.acknowledgements();
  await godwit.run(["protect", guest.name, "--vault", "main"]);
  await godwit.run(["point", "list", guest.name]);
  heading(`${to.name} loses its power; the last point is recovered on ${third.name}`);
  await lab.faults.crashHost(to);
  const point = (await godwit.json<RecoveryPoint[]>(["point", "list", guest.name])).at(-1)?.id.slice(0, 12) ?? "";
  const name = recoveredName(guest);
  await godwit.run(["recover", "vm", point, "--to", third.name, "--storage", "shared", "--name", name]);
  const image = (await readdir(lab.sharedDir)).find((file) => file.startsWith(`${name}-vda`)) ?? "";
  const report = await verifyImage(join(lab.sharedDir, image), { acknowledgements: acknowledged, format: "qcow2" });
  say(`${report.ok ? "whole" : "DAMAGED"}: ${report.summary}`);
  await godwit.run(["vm", "start", name]);
  await to.boot();
  say(`${to.name} is back; ${from.name}, ${to.name} and ${third.name} are up`);
  return report.ok;
}

async function makeVault(lab: Lab, godwit: Godwit): Promise<void> {
  const [location, passphraseFile] = [join(lab.dir, "vault"), join(lab.dir, "passphrase")];
  await writeFile(passphraseFile, "the demo's passphrase\n", { mode: 0o600 });
  await godwit.run(["vault", "init", location, "--passphrase-file", passphraseFile], { quiet: true });
  await godwit.run(["vault-location", "add", "main", location, "--passphrase-file", passphraseFile]);
}

async function threeHosts(lab: Lab, guest: LabGuest): Promise<[LabHost, LabHost, LabHost]> {
  const from = await guest.host();
  const [to, third] = lab.hosts.filter((host) => host.name !== from.name);
  if (!to || !third) throw new Error("the lab has fewer than three hosts");
  return [from, to, third];
}

/** Slowly, so that there is a middle. */
async function parkAndMove({ guest, godwit }: Shown, to: LabHost): Promise<void> {
  await guest.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/data/new bs=1M count=24 2>/dev/null; sync"]);
  const id = (await godwit.run(["protect", guest.name, "--vault", "main", "--bandwidth", "4M", "--no-wait"])).trim();
  for (let job = await godwit.json<Job>(["job", "show", id]); job.state !== "done"; job = await godwit.json<Job>(["job", "show", id])) {
    if (job.state === "failed" || job.state === "cancelled") throw new Error(`the capture ended: ${job.error?.detail ?? job.state}`);
    if (job.progress?.phase.startsWith("reading") === true) break;
  }
  await godwit.run(["vm", "migrate", guest.name, "--to", to.name]);
  const parked = await godwit.json<Job>(["job", "show", id]);
  const { continuedBy } = parked.result as { readonly continuedBy?: string };
  if (continuedBy !== undefined) await godwit.run(["job", "watch", continuedBy]);
}
