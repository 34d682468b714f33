import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { CancelledError } from "@godwit/core";
import { hostNames, labNetworks, type NetworkName, type NetworkOptions } from "./addresses.ts";
import { LabError } from "./error.ts";
import { guestImage } from "./guest/image.ts";
import type { LabHost } from "./host.ts";
import { type Claim, claimLab, isLabUp, labIndexes, type Lifetime } from "./keeper.ts";
import { Lab, type LabRecord } from "./lab.ts";
import { labDir, labPaths } from "./paths.ts";
import { findSshd } from "./sshd.ts";
import { switchBatches } from "./switch.ts";
import { writeHostFiles } from "./write-host-files.ts";

export interface LabOptions {
  /** How many hosts; default 3. */
  readonly hosts?: number;
  /** How many guests, spread over the hosts, with their agents answering. Default 0. */
  readonly guests?: number;
  /** Default `lab<number>`. */
  readonly name?: string | undefined;
  readonly networks?: Partial<Record<NetworkName, NetworkOptions>>;
  /** Networks that this machine is on besides management: a server here can use them for backup traffic. */
  readonly uplinks?: readonly NetworkName[];
  /** The size of each host's `local` pool, which takes memory as it fills. Default 4096. */
  readonly localStorageMiB?: number;
  /** Cancels the start; it does not end a lab that is up. */
  readonly signal?: AbortSignal | undefined;
}

/** Starts a lab that lives as long as it is not disposed and this process runs. */
export function startLab(options: LabOptions = {}): Promise<Lab> {
  return createLab("owned", options);
}

/** Starts a lab that stays until `stopLab`. */
export function startDetachedLab(options: LabOptions = {}): Promise<Lab> {
  return createLab("detached", options);
}

/** A running lab that somebody else started, by its id. Rejects with `not-found`. */
export async function openLab(id: string): Promise<Lab> {
  const labs = await listLabs();
  const record = labs.find((lab) => lab.id === id);
  if (!record) {
    const others = labs.length === 0 ? "none runs" : `these run: ${labs.map((lab) => lab.id).join(", ")}`;
    throw new LabError("not-found", `no lab ${id}: ${others}`);
  }
  return new Lab(record);
}

/** Every lab that is up on this machine. */
export async function listLabs(): Promise<LabRecord[]> {
  const read = async (index: number): Promise<string> =>
    (await isLabUp(index)) ? readFile(labPaths(labDir(index)).state, "utf8").catch(() => "") : "";
  const texts = await Promise.all((await labIndexes()).map(read));
  return texts.filter((text) => text !== "").map((text) => JSON.parse(text) as LabRecord);
}

async function createLab(lifetime: Lifetime, options: LabOptions): Promise<Lab> {
  if (process.getuid?.() !== 0) throw new LabError("not-root", "the lab makes network namespaces and mounts: run it as root");
  const count = options.hosts ?? 3;
  if (!Number.isInteger(count) || count < 1 || count > hostNames.length) {
    throw new LabError("invalid", `a lab of ${count} hosts: must be 1 to ${hostNames.length}`);
  }
  await checkName(options.name);
  const signal = options.signal ?? new AbortController().signal;
  // A guest image that has to be built is built first: nothing waits for it half done.
  const [sshd] = await Promise.all([findSshd(signal), (options.guests ?? 0) > 0 ? guestImage(signal) : undefined]);
  const claim = await claimLab(lifetime, signal);
  try {
    const record = recordOf(claim, lifetime, { ...options, hosts: count });
    const lab = new Lab(record, claim.release);
    await writeHostFiles(lab.paths, record, sshd, signal);
    await lab.namespace.batches(switchBatches(claim.index, record.networks, options.uplinks), signal);
    await bootAll(lab.hosts, signal);
    await startGuests(lab, options.guests ?? 0, signal);
    await writeFile(lab.paths.state, JSON.stringify(record, undefined, 2));
    return lab;
  } catch (error) {
    await claim.release();
    throw error;
  }
}

async function startGuests(lab: Lab, count: number, signal: AbortSignal): Promise<void> {
  const starting = Array.from({ length: count }, async (_, at) => {
    const guest = await lab.createGuest({ name: `guest${at + 1}`, host: lab.hosts[at % lab.hosts.length]!, signal });
    await guest.start(guest.home, { signal });
    await guest.waitForAgent({ host: guest.home, signal, timeoutMs: 60_000 + 20_000 * count });
  });
  await Promise.all(starting);
}

/** Boots all, and when one fails cancels the others and waits for them. */
async function bootAll(hosts: readonly LabHost[], signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const all = AbortSignal.any([signal, failed.signal]);
  const booting = hosts.map((host) => host.boot({ signal: all }));
  for (const boot of booting) boot.catch(() => failed.abort(new CancelledError("another host did not boot")));
  try {
    await Promise.all(booting);
  } finally {
    await Promise.allSettled(booting);
  }
}

async function checkName(name: string | undefined): Promise<void> {
  if (name === undefined) return;
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(name)) {
    throw new LabError("invalid", `'${name}' cannot name a lab: use up to 20 small letters, digits and hyphens, a letter first`);
  }
  if ((await listLabs()).some((lab) => lab.id === name)) {
    throw new LabError("exists", `lab ${name} is up already: take it down first (npm run lab -- down --name ${name})`);
  }
}

function recordOf(claim: Claim, lifetime: Lifetime, options: LabOptions & { readonly hosts: number }): LabRecord {
  return {
    version: 1,
    id: options.name ?? `lab${claim.index}`,
    index: claim.index,
    created: new Date().toISOString(),
    lifetime,
    localStorageMiB: options.localStorageMiB ?? 4096,
    networks: labNetworks(claim.index, options.networks),
    hosts: hostNames.slice(0, options.hosts).map((name, index) => ({ name, index, uuid: randomUUID() })),
  };
}
