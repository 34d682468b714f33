import assert from "node:assert/strict";
import type { Job } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import { assertNothingLeft, assertOneWholeGuest, eventually, isEnded, showJob, type Site, startSite, vmHost } from "./site.ts";

/** Data of the second disk, and the server's way to bravo: together they keep a copy under way for more than five seconds. */
const dataMiB = 20;
const slowMbit = 30;

/** Two hosts, and a guest with two local disks on alpha that is to be struck while it, or they, move. */
export interface StruckSite extends AsyncDisposable {
  readonly site: Site;
  readonly guest: LabGuest;
  readonly alpha: LabHost;
  readonly bravo: LabHost;
  /** Makes the server's way to bravo slow (again). */
  slowDown(): Promise<void>;
  /** Resolves when both hosts are up and the guest is seen on alpha. */
  ready(): Promise<void>;
  /** Starts the guest on alpha or pulls its plug, unless it is so already. */
  be(state: "running" | "off"): Promise<void>;
  /** Starts a job and resolves with its id once a phase that matches is under way. */
  begin(args: readonly string[], phase: RegExp): Promise<string>;
  files(host: LabHost, folder: string): Promise<string>;
  /** The guest is whole on alpha, and bravo keeps neither a definition nor a file of it. */
  assertUndone(job: Job, state?: Job["state"]): Promise<void>;
}

export async function startStruckSite(): Promise<StruckSite> {
  await using stack = new AsyncDisposableStack();
  const site = stack.use(await startSite({ hosts: 2 }));
  const [alpha, bravo] = [site.lab.host("alpha"), site.lab.host("bravo")];
  const guest = await site.lab.createGuest({
    name: "web",
    host: alpha,
    memoryMiB: 160,
    disk: "local",
    extraDisks: [{ sizeMiB: 24, format: "raw", storage: "local" }],
  });
  const [, data] = guest.record.disks;
  await alpha.exec(["dd", "if=/dev/urandom", `of=${data?.path ?? ""}`, "bs=1M", `count=${dataMiB}`, "conv=notrunc", "status=none"]);
  await guest.start(alpha);
  await guest.waitForAgent({ host: alpha });
  const slowDown = (): Promise<void> => site.lab.faults.slowLink(bravo, "management", { mbit: slowMbit });
  await slowDown();
  const files = async (host: LabHost, folder: string): Promise<string> => (await host.exec(["ls", folder])).stdout;
  const owned = stack.move();
  return {
    site,
    guest,
    alpha,
    bravo,
    slowDown,
    files,
    ready: () => isReady(site),
    async be(state) {
      if ((await vmHost(site.godwit, "web")) === `alpha ${state}`) return;
      await site.godwit.run(state === "off" ? ["vm", "stop", "web", "--off"] : ["vm", "start", "web"]);
      if (state === "running") await guest.waitForAgent({ host: alpha });
    },
    begin: (args, phase) => begin(site, args, phase),
    async assertUndone(job, state = "failed") {
      assert.equal(job.state, state, JSON.stringify(job.error));
      if (state === "failed") assert.ok((job.error?.detail ?? "").length > 20, "a reason is missing");
      await assertNothingLeft(guest, bravo);
      assert.equal(await files(bravo, "/srv/local"), "");
      assert.equal(await files(alpha, "/srv/local"), "web-vda.qcow2\nweb-vdb.raw\n");
      await eventually("the server sees it", async () => (await vmHost(site.godwit, "web").catch(() => "")).startsWith("alpha "));
      if ((await guest.state(alpha)) === "running") assert.equal(await assertOneWholeGuest(site.lab, guest), "alpha");
      else assert.ok((await guest.verifyOffline({ host: alpha })).ok);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function isReady({ godwit }: Site): Promise<void> {
  await eventually("both hosts are up and the guest is seen", async () => {
    const hosts = await godwit.json<{ state: string }[]>(["host", "list"]);
    return hosts.every((one) => one.state === "up") && /^alpha (running|off)$/.test(await vmHost(godwit, "web"));
  });
}

async function begin({ godwit }: Site, args: readonly string[], phase: RegExp): Promise<string> {
  const id = (await godwit.run([...args, "--no-wait"])).trim();
  await eventually(`${phase} of ${args.join(" ")}`, async () => {
    const job = await showJob(godwit, id);
    if (isEnded(job)) assert.fail(`the job ended too early: ${JSON.stringify(job.error)}`);
    return phase.test(job.progress?.phase ?? "");
  });
  return id;
}
