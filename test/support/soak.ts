import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { CaptureResult, Job, RecoveryPoint, Vm } from "@godwit/api";
import { type LabGuest, type LabHost, verifyImage } from "@godwit/lab";
import type { Random } from "../../packages/libvirt/fuzz/random.ts";
import { assertNoTraces, bitmapsOf, tracesOn, withRestored } from "./captures.ts";
import { assertOneWholeGuest, ended, eventually, isEnded, migrate, showJob, type Site, vmHost } from "./site.ts";

/** The second disk, whose content the test knows to the byte, in blocks of 4 KiB. */
export const bulkMiB = 16;
const blockBytes = 4096;
const bulkBlocks = bulkMiB * 256;
const largestWrite = 1024;

/** A blow falls at most so long after the capture was asked for. */
const latestBlowMs = 1500;
/** A machine under load, a guest that starts again, a host that is found anew. */
const settleMs = 120_000;

/** What a point must hold: the records that were acknowledged before it was asked for, and the second disk as it was. */
interface Expected {
  readonly acknowledged: number;
  readonly bulk: string;
}

/** How often each happens before all have happened. */
const deck = {
  write: 3,
  capture: 2,
  "write during a capture": 2,
  migrate: 1,
  "migrate during a capture": 2,
  "move a disk": 2,
  "kill QEMU": 1,
  "kill QEMU during a capture": 1,
  "kill libvirtd during a capture": 1,
  "kill the server during a capture": 2,
  restore: 1,
} as const;

type Act = keyof typeof deck;

/** A guest, everything that may happen to it, and what its recovery points must hold afterwards. */
export class Soak {
  /** What was done, in order. */
  readonly story: string[] = [];
  readonly #site: Site;
  readonly #guest: LabGuest;
  readonly #random: Random;
  readonly #bulk = Buffer.alloc(bulkBlocks * blockBytes);
  readonly #expected = new Map<string, Expected>();
  #cards: Act[] = [];

  constructor(site: Site, guest: LabGuest, random: Random) {
    this.#site = site;
    this.#guest = guest;
    this.#random = random;
  }

  get points(): number {
    return this.#expected.size;
  }

  /** Does the next thing, and waits until the guest runs and the server sees it. */
  async step(): Promise<void> {
    const act = this.#draw();
    this.story.push(act);
    await this.#acts[act]();
    await this.#settle();
  }

  /** Captures once more without any disturbance, restores every listed point, and looks for what was left behind. */
  async end(): Promise<void> {
    await this.#capture();
    for (const { id } of await this.#listed()) await this.#check(id);
    const { godwit, lab } = this.#site;
    const name = await assertOneWholeGuest(lab, this.#guest);
    assert.deepEqual(await godwit.json<Job[]>(["job", "list", "--state", "active"]), []);
    for (const host of lab.hosts) await eventually(`no trace on ${host.name}`, async () => (await tracesOn(host)) === "");
    const vm = await godwit.json<Vm>(["vm", "show", "web"]);
    await godwit.run(["vm", "stop", "web", "--off"]);
    for (const { source } of vm.disks) {
      const bitmaps = await bitmapsOf(lab.host(name), source.path ?? "");
      assert.ok(bitmaps.filter((bitmap) => bitmap.startsWith("godwit-")).length <= 1, `${source.path}: ${bitmaps.join(", ")}`);
    }
  }

  readonly #acts: Readonly<Record<Act, () => Promise<void>>> = {
    write: () => this.#write(),
    capture: () => this.#capture(),
    "write during a capture": () => this.#disturbed("done", (id) => this.#writeWhileReading(id)),
    migrate: () => this.#migrate(),
    "migrate during a capture": () => this.#disturbed("done", () => this.#soon(() => this.#migrate())),
    "move a disk": () => this.#moveDisk(),
    "kill QEMU": () => this.#killQemu(),
    "kill QEMU during a capture": () => this.#disturbed("any", () => this.#soon(() => this.#killQemu())),
    "kill libvirtd during a capture": () => this.#disturbed("any", () => this.#soon(() => this.#killLibvirtd())),
    "kill the server during a capture": () => this.#disturbed("done", () => this.#soon(() => this.#site.killAndRestartServer())),
    restore: () => this.#restore(),
  };

  #draw(): Act {
    if (this.#cards.length === 0) this.#cards = Object.entries(deck).flatMap(([act, times]) => Array<Act>(times).fill(act as Act));
    const [act] = this.#cards.splice(this.#random.int(this.#cards.length), 1);
    assert.ok(act);
    return act;
  }

  /** Puts new content into a few blocks of the second disk, durably. */
  async #write(): Promise<void> {
    const count = 1 + this.#random.int(largestWrite);
    const at = this.#random.int(bulkBlocks - count);
    const line = `soak ${this.#random.int(1_000_000_000)}`;
    const script = `yes '${line}' | dd of=/dev/vdb bs=${blockBytes} seek=${at} count=${count} iflag=fullblock conv=notrunc,fsync 2>/dev/null`;
    await this.#guest.exec(["/bin/sh", "-c", script], { timeoutMs: settleMs });
    this.#bulk.fill(`${line}\n`, at * blockBytes, (at + count) * blockBytes);
  }

  async #capture(): Promise<void> {
    await this.#disturbed("done", async () => undefined);
    await assertNoTraces(this.#guest, await this.#guest.host());
  }

  /** A capture that something happens to; the point that it makes, if it may fail, is known from now on. */
  async #disturbed(outcome: "done" | "any", disturb: (id: string) => Promise<void>): Promise<void> {
    const expected = await this.#now();
    const id = (await this.#site.godwit.run(["protect", "web", "--vault", "main", "--no-wait"])).trim();
    await disturb(id);
    const made = await this.#outcome(id, outcome);
    for (const point of await this.#listed()) if (!this.#expected.has(point.id)) this.#expected.set(point.id, expected);
    if (made !== undefined) assert.ok(this.#expected.has(made), `the point ${made} of job ${id} is not listed`);
  }

  /** The point of a capture, and of the one that goes on for it; undefined when it failed, which only `any` forgives. */
  async #outcome(id: string, outcome: "done" | "any"): Promise<string | undefined> {
    const job = await ended(this.#site.godwit, id, settleMs);
    if (job.state !== "done") {
      assert.ok(outcome === "any" && (job.error?.detail ?? "") !== "", `job ${id} is ${job.state}: ${JSON.stringify(job.error)}`);
      return undefined;
    }
    const result = job.result as CaptureResult;
    return result.outcome === "captured" ? result.pointId : await this.#outcome(result.continuedBy, outcome);
  }

  /** Once the moment is taken the point must not hold what is written. */
  async #writeWhileReading(id: string): Promise<void> {
    await eventually(
      "the capture reads",
      async () => {
        const job = await showJob(this.#site.godwit, id);
        return isEnded(job) || job.progress?.phase.startsWith("reading") === true;
      },
      settleMs,
    );
    await this.#write();
  }

  /** At a moment of the capture that nobody chose. */
  async #soon(blow: () => Promise<void>): Promise<void> {
    const delayMs = this.#random.int(latestBlowMs);
    await new Promise((resolve) => setTimeout(resolve, delayMs)); // the moment of the blow, not a wait for something
    await blow();
  }

  async #migrate(): Promise<void> {
    const from = await this.#guest.host();
    const to = this.#site.lab.hosts.find((host) => host !== from);
    assert.ok(to);
    const storage = (await this.#bulkIsLocal()) ? ["--storage", "vdb=local"] : [];
    await migrate(this.#site.godwit, "web", to.name, ...storage);
  }

  async #moveDisk(): Promise<void> {
    const to = (await this.#bulkIsLocal()) ? "shared" : "local";
    const job = await this.#site.godwit.json<Job>(["vm", "move-storage", "web:vdb", "--to", to]);
    assert.equal(job.state, "done", JSON.stringify(job.error));
  }

  async #bulkIsLocal(): Promise<boolean> {
    const vm = await this.#site.godwit.json<Vm>(["vm", "show", "web"]);
    return vm.disks.find(({ target }) => target === "vdb")?.source.path?.startsWith("/srv/local/") === true;
  }

  async #killQemu(): Promise<void> {
    const host = await this.#guest.host();
    await this.#site.lab.faults.killQemu(host, "web");
    await eventually("the guest is off", async () => (await this.#guest.state(host)) === "shut off", settleMs);
    await eventually("the server sees it", async () => (await this.#seen()) === `${host.name} off`, settleMs);
    await this.#start(host);
    await this.#guest.waitForAgent({ host, timeoutMs: settleMs });
  }

  /** libvirt's daemon may hang for ever when QEMU ends while it takes it up again: then as the error tells an admin. */
  async #start(host: LabHost): Promise<void> {
    const started = await this.#site.godwit.try(["vm", "start", "web"]);
    if (started.code === 0) return;
    assert.match(started.stderr, /restart libvirtd there/);
    this.story.push("restart the libvirtd that hung");
    await this.#site.lab.faults.killLibvirtd(host);
    await this.#site.lab.faults.startLibvirtd(host);
    await eventually("the server sees it", async () => (await this.#seen()) === `${host.name} off`, settleMs);
    await this.#site.godwit.run(["vm", "start", "web"]);
  }

  async #killLibvirtd(): Promise<void> {
    const host = await this.#guest.host();
    await this.#site.lab.faults.killLibvirtd(host);
    await this.#soon(() => this.#site.lab.faults.startLibvirtd(host));
  }

  async #restore(): Promise<void> {
    const ids = [...this.#expected.keys()];
    const id = ids[this.#random.int(ids.length || 1)];
    if (id !== undefined) await this.#check(id);
  }

  /** Both disks of a point are what they were at its moment. */
  async #check(id: string): Promise<void> {
    const expected = this.#expected.get(id);
    assert.ok(expected, `nobody knows what point ${id} must hold`);
    const { acknowledged } = await this.#guest.acknowledgements();
    const acknowledgements = acknowledged.slice(0, expected.acknowledged);
    await withRestored(this.#site, id, "vda", async (path) => {
      const report = await verifyImage(path, { acknowledgements, format: "raw" });
      assert.ok(report.ok, `point ${id}: ${report.summary}`);
    });
    const bulk = await withRestored(this.#site, id, "vdb", async (path) => digest(await readFile(path)));
    assert.equal(bulk, expected.bulk, `the second disk of point ${id} is not as it was`);
  }

  async #now(): Promise<Expected> {
    return { acknowledged: (await this.#guest.acknowledgements()).acknowledged.length, bulk: digest(this.#bulk) };
  }

  #listed(): Promise<RecoveryPoint[]> {
    return this.#site.godwit.json<RecoveryPoint[]>(["point", "list", "web"]);
  }

  #seen(): Promise<string> {
    return vmHost(this.#site.godwit, "web").catch(() => "");
  }

  async #settle(): Promise<LabHost> {
    const host = await eventually("the guest runs somewhere", () => this.#guest.host().catch(() => undefined), settleMs);
    await eventually("the server sees it", async () => (await this.#seen()) === `${host.name} running`, settleMs);
    await this.#guest.waitForRecords(3, { timeoutMs: settleMs });
    return host;
  }
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
