import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeCertificates } from "./certificates.ts";
import { etcFiles, type EtcFile, type LabFacts, type SshdProgram } from "./host-files.ts";
import type { LabPaths } from "./paths.ts";
import { writeSshKeys } from "./ssh-keys.ts";

/** Fills a new lab's folder with all that its hosts need to boot: folders, configuration, keys, certificates. */
export async function writeHostFiles(paths: LabPaths, facts: LabFacts, sshd: SshdProgram, signal: AbortSignal): Promise<void> {
  const hostEtc = (host: string): string => join(paths.host(host), "etc");
  for (const path of [paths.shared, paths.acks, paths.guest, paths.guests, paths.client, paths.work]) await mkdir(path);
  for (const host of facts.hosts) {
    for (const folder of ["etc", "lib", "log", "run", "root"]) {
      await mkdir(join(paths.host(host.name), folder), { recursive: true, mode: folder === "root" ? 0o700 : 0o755 });
    }
  }
  const folders = { work: paths.work, client: paths.client, hostEtc };
  await Promise.all([writeSshKeys(facts, folders, signal), writeCertificates(facts, folders, signal)]);
  const ownSshd = await bringSshd(sshd, paths);
  for (const host of facts.hosts) {
    for (const file of etcFiles(facts, host, ownSshd)) await writeEtcFile(hostEtc(host.name), file);
  }
}

/** An unpacked sshd is copied into the lab, which outlives the cache and is seen by all hosts. */
async function bringSshd(sshd: SshdProgram, paths: LabPaths): Promise<SshdProgram> {
  if (sshd.libraryPath === undefined) return sshd;
  const cache = dirname(dirname(dirname(sshd.path)));
  const own = join(paths.dir, "sshd");
  await cp(cache, own, { recursive: true, verbatimSymlinks: true });
  return { path: sshd.path.replace(cache, own), libraryPath: sshd.libraryPath.replaceAll(cache, own) };
}

async function writeEtcFile(etc: string, file: EtcFile): Promise<void> {
  const path = join(etc, file.path);
  await mkdir(dirname(path), { recursive: true });
  if ("link" in file) await symlink(file.link, path);
  else await writeFile(path, file.text, { mode: file.mode ?? 0o644 });
}
