import assert from "node:assert/strict";
import type { Job, MigrationResult, Network, Vm } from "@godwit/api";
import { type Lab, type LabGuest, type LabHost, type LabOptions, startLab } from "@godwit/lab";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Godwit, type ServerProcess, startServer } from "../../scripts/godwit-process.ts";

/** A lab with a server that knows its hosts and calls its networks by the lab's names. */
export interface Site extends AsyncDisposable {
  readonly lab: Lab;
  readonly godwit: Godwit;
  server: ServerProcess;
  /** Ends the server as a power cut would, and starts another on the same state. */
  killAndRestartServer(): Promise<void>;
}

export async function startSite(
  options: Pick<LabOptions, "uplinks"> & { readonly hosts: number; readonly serverArgs?: readonly string[] },
): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ hosts: options.hosts, ...(options.uplinks && { uplinks: options.uplinks }) }));
  const start = (): Promise<ServerProcess> => startServer({ stateDir: join(lab.dir, "godwit"), args: options.serverArgs ?? [] });
  const site: { server: ServerProcess } = { server: await start() };
  stack.defer(() => site.server.stop());
  const godwit = new Godwit({ socket: site.server.socket });
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)]);
  await nameNetworks(lab, godwit);
  const owned = stack.move();
  return Object.assign(site, {
    lab,
    godwit,
    async killAndRestartServer() {
      await site.server.kill();
      site.server = await start();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  });
}

async function nameNetworks(lab: Lab, godwit: Godwit): Promise<void> {
  await godwit.run(["network", "probe"]);
  const networks = await godwit.json<Network[]>(["network", "list"]);
  for (const { name, ipv4 } of lab.networks) {
    const found = networks.find((network) => network.subnets.includes(ipv4));
    assert.ok(found, `no network was found for ${ipv4}`);
    await godwit.run(["network", "rename", found.id, name]);
  }
}

/** A guest that writes records, and memory if it is to, running with its agent on a host. */
export async function runGuest(
  lab: Lab,
  name: string,
  host: LabHost,
  options: Partial<Parameters<Lab["createGuest"]>[0]> = {},
): Promise<LabGuest> {
  const guest = await lab.createGuest({ name, host, ...options });
  await guest.start(host);
  await guest.waitForAgent({ host });
  if (guest.record.dirtyMiBPerSecond > 0) await guest.exec(["/bin/sh", "-c", "until [ -s /dirty/other ]; do sleep 0.1; done"], { host });
  return guest;
}

/** Whether the agent of a VM answers that the lab knows no guest for: one that was recovered. */
export async function agentAnswers(host: LabHost, vm: string): Promise<boolean> {
  const ping = ["qemu-agent-command", "--timeout", "2", vm, '{"execute":"guest-ping"}'];
  return (await host.virsh(ping, { check: false })).code === 0;
}

/** Looks until there is something to see; fails after the deadline with what was waited for. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, timeoutMs = 30_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) assert.fail(`${what}: not within ${timeoutMs} ms`);
    await sleep(100);
  }
}

export const isEnded = (job: Job): boolean => ["done", "failed", "cancelled"].includes(job.state);

export const showJob = (godwit: Godwit, id: string): Promise<Job> => godwit.get<Job>(`/jobs/${id}`);

/** Waits until a job has ended, asking a server that may just be starting again. */
export function ended(godwit: Godwit, id: string, timeoutMs = 60_000): Promise<Job> {
  return eventually(
    `job ${id} ends`,
    async () => {
      const job = await showJob(godwit, id).catch(() => undefined);
      return job && isEnded(job) ? job : undefined;
    },
    timeoutMs,
  );
}

/** Migrates and gives the job's result. */
export async function migrate(godwit: Godwit, vm: string, to: string, ...more: readonly string[]): Promise<MigrationResult> {
  const job = await godwit.json<Job>(["vm", "migrate", vm, "--to", to, ...more]);
  assert.equal(job.state, "done");
  return job.result as MigrationResult;
}

/** Starts a migration that takes some ten seconds, and resolves with its job once its memory is on the way. */
export async function slowMigration(godwit: Godwit, vm: string, to: string, ...more: readonly string[]): Promise<string> {
  const id = (await godwit.run(["vm", "migrate", vm, "--to", to, "--no-wait", "--bandwidth", "8M", ...more])).trim();
  await eventually("the memory is on its way", async () => {
    const job = await showJob(godwit, id);
    if (isEnded(job)) assert.fail(`the job ended too early: ${JSON.stringify(job.error)}`);
    return (job.progress?.fraction ?? 0) > 0.05;
  });
  return id;
}

/** Exactly one host runs the guest, it goes on writing, and every record that it acknowledged is there. */
export async function assertOneWholeGuest(lab: Lab, guest: LabGuest): Promise<string> {
  const host = await eventually("exactly one host runs the guest", async () => {
    const states = await Promise.all(
      lab.hosts.filter((one) => one.isUp).map(async (one) => [one, await guest.state(one).catch(() => undefined)] as const),
    );
    const running = states.filter(([, state]) => state === "running");
    const elsewhere = states.filter(([, state]) => state !== undefined && state !== "running" && state !== "shut off");
    return running.length === 1 && elsewhere.length === 0 && running[0]?.[0];
  });
  try {
    await guest.waitForRecords(3, { timeoutMs: 30_000 });
  } catch (cause) {
    assert.fail(`${guest.name} does not go on writing on ${host.name}: ${await looks(guest, host)}\n${String(cause)}`);
  }
  const report = await guest.verifyLive({ host });
  assert.ok(report.ok, report.summary);
  return host.name;
}

/** Tells a guest that stands still from one that nobody let run on: the hypervisor's word, its CPU time, its console. */
async function looks(guest: LabGuest, host: LabHost): Promise<string> {
  const said = async (...argv: readonly string[]): Promise<string> => (await host.virsh(argv, { check: false })).stdout.trim();
  const cpu = async (): Promise<number> =>
    Number(
      /cpu_time\s+([\d.]+)/.exec(await said("cpu-stats", guest.name, "--total"))?.[1] ??
        /cpu\.time=(\d+)/.exec(await said("domstats", guest.name, "--cpu-total"))?.[1],
    );
  const before = await cpu();
  await sleep(2000);
  const status = await said("qemu-monitor-command", guest.name, '{"execute":"query-status"}');
  const registers = await said("qemu-monitor-command", guest.name, "--hmp", "info registers");
  const console = await host.exec(["tail", "-n", "30", `/var/log/libvirt/${guest.name}-serial.log`], { check: false });
  return [
    await said("domstate", guest.name, "--reason"),
    status,
    `CPU time ${before} to ${await cpu()} within 2 s`,
    registers
      .split("\n")
      .filter((line) => /RIP|HLT/.test(line))
      .join(" "),
    `console: ${console.stdout}`,
  ].join("\n");
}

/** The named host keeps nothing of the guest: no process and no definition. */
export async function assertNothingLeft(guest: LabGuest, host: LabHost): Promise<void> {
  await eventually(`nothing of ${guest.name} is left on ${host.name}`, async () => (await guest.state(host)) === undefined);
}

export async function vmHost(godwit: Godwit, vm: string): Promise<string> {
  const seen = await godwit.get<Vm>(`/vms/${encodeURIComponent(vm)}`);
  return `${seen.host} ${seen.state}`;
}
