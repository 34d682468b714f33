import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LabGuest } from "@godwit/lab";
import { eventually, migrate, type Site, startSite, vmHost } from "./site.ts";

type Options = Partial<Parameters<Site["lab"]["createGuest"]>[0]>;

/**
 * What `busy` rewrites, all of it twice a second: with half of its CPU time it seems to change as much, and with a fifth
 * of it that is still more than its slowed link carries.
 */
const dirtyMemory = { MiBPerSecond: 80, ofMiB: 40 };
/** What is left of the way to bravo. */
export const slowMbit = 120;

const guests: Readonly<Record<string, Options>> = {
  dc1: {},
  dc2: {},
  mail: {},
  sql: {},
  web1: {},
  web2: {},
  web3: {},
  erp: {},
  files: { disk: "local" },
  busy: { memoryMiB: 192, dirtyMemory },
  spare: {},
  old: {},
};

/** What is asked of every guest's place, and of what `more` adds. */
export function rulesText(more: readonly string[] = []): string {
  return [
    "apiVersion: godwit/v1",
    "kind: Cluster",
    "placement:",
    "  sites: { alpha: north, bravo: north, charlie: north, delta: south, echo: south }",
    "  tags:",
    "    - { vms: ['dc*'], tags: [domain-controller] }",
    "    - { vms: [sql], tags: [sql-server] }",
    "  rules:",
    "    - { name: controllers, vms: { tags: [domain-controller] }, keepApart: enforce, priority: high }",
    "    - { name: post, vms: { names: [mail] }, preferredHosts: [delta], priority: high }",
    "    - { name: webs, vms: { names: ['web*'] }, spreadOver: hosts }",
    "    - { name: licence, vms: { names: [erp] }, possibleHosts: [alpha, charlie] }",
    "    - { name: churn, vms: { names: [busy] }, possibleHosts: [alpha, bravo] }",
    "    - { name: last, vms: { names: [spare] }, priority: low }",
    ...more.map((rule) => `    - ${rule}`),
    "",
  ].join("\n");
}

/** Lets the guest that will not converge be paused at last. */
export const pauseAtLast = "{ name: churn-at-last, vms: { names: [busy] }, pausePolicy: suspend-at-last }";

export interface TwelveGuests {
  readonly site: Site;
  /** Those that run; `old` is off. */
  readonly running: readonly LabGuest[];
  apply(text: string): Promise<void>;
  /** Waits until every running guest is seen on that host. */
  allOn(host: string): Promise<void>;
}

/**
 * Five hosts, and on one of them twelve guests of different rules and loads. The way to bravo is slow, which the
 * server knows from one move over it; one guest changes memory faster than that.
 */
export async function startTwelveGuests(stack: AsyncDisposableStack): Promise<TwelveGuests> {
  const site = stack.use(await startSite({ hosts: 5 }));
  const { lab, godwit } = site;
  const [alpha, bravo] = [lab.host("alpha"), lab.host("bravo")];
  await godwit.run(["live-migration", "set", "--order", "migration", "--max-parallel", "4"]);
  const running: LabGuest[] = [];
  for (const [name, options] of Object.entries(guests)) {
    const host = name === "spare" ? bravo : alpha;
    const guest = await lab.createGuest({ name, host, memoryMiB: 160, recordsPerSecond: 1, diskMiB: 64, ...options });
    if (name === "old") continue;
    await guest.start(host);
    running.push(guest);
  }
  for (const guest of running) await guest.waitForAgent({ timeoutMs: 180_000 });
  await lab.faults.slowLink(bravo, "migration", { mbit: slowMbit });
  await eventually("the server sees the guest on bravo", async () => (await vmHost(godwit, "spare").catch(() => "")) === "bravo running");
  await migrate(godwit, "spare", "alpha");
  const allOn = async (host: string): Promise<void> => {
    await eventually(`all guests are on ${host}`, async () => {
      const vms = await godwit.json<{ name: string; host: string; state: string }[]>(["vm", "list"]);
      return running.every(({ name }) => vms.some((vm) => vm.name === name && vm.host === host && vm.state === "running"));
    });
  };
  await allOn("alpha");
  const file = join(lab.dir, "placement.yaml");
  return {
    site,
    running,
    allOn,
    async apply(text) {
      await writeFile(file, text);
      await godwit.run(["apply", "-f", file]);
    },
  };
}
