import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import type { DoctorReport } from "@godwit/api";
import { describeError, systemClock } from "@godwit/core";
import { gatherHosts, type Inventory, judgeHost, judgeServer, type Networks, type ServerMachineFacts } from "@godwit/engine";

export interface DoctorOptions {
  readonly inventory: Pick<Inventory, "hosts" | "shell">;
  readonly networks: Pick<Networks, "interfaces">;
  readonly socket: string;
  readonly stateDir: string;
  readonly signal: AbortSignal;
}

/** Checks the server's machine and every host. What is wrong is in the report; it rejects only on abort. */
export async function runDoctor(options: DoctorOptions): Promise<DoctorReport> {
  const { inventory, networks, signal } = options;
  const hosts = inventory.hosts();
  const [machine, findings] = await Promise.all([
    machineFacts(options, hosts.length),
    gatherHosts({ hosts, shell: (id) => inventory.shell(id), interfaces: networks.interfaces(), clock: systemClock, signal }),
  ]);
  return {
    sections: [
      { subject: "server", checks: judgeServer(machine) },
      ...findings.map((finding) => ({ subject: `host ${finding.host.name}`, checks: judgeHost(finding) })),
    ],
  };
}

async function machineFacts({ socket, stateDir }: DoctorOptions, hosts: number): Promise<ServerMachineFacts> {
  const mode = async (path: string): Promise<number | undefined> =>
    stat(path).then(
      (found) => found.mode & 0o777,
      () => undefined,
    );
  const problem = await access(stateDir, constants.W_OK | constants.X_OK).then(() => undefined, describeError);
  const space = await statfs(stateDir).catch(() => undefined);
  return {
    node: process.version,
    stateDir: { path: stateDir, problem, freeBytes: space && space.bavail * space.bsize, mode: await mode(stateDir) },
    socket: { path: socket, mode: await mode(socket) },
    clockSynchronized: await clockSynchronized(),
    hosts,
  };
}

/** systemd-timesyncd leaves a file once it is; without systemd or with another daemon nobody says. */
async function clockSynchronized(): Promise<boolean | undefined> {
  const there = (path: string): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    );
  if (await there("/run/systemd/timesync/synchronized")) return true;
  return (await there("/run/systemd/timesync")) ? false : undefined;
}
