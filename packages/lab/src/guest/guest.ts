import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { LabError } from "../error.ts";
import type { LabHost } from "../host.ts";
import { until } from "../process.ts";
import { type AcknowledgementLog, parseAcknowledgements } from "../records/acknowledgements.ts";
import { type AckWatch, watchAcknowledgements } from "../records/observe.ts";
import { verifyImage } from "../records/offline.ts";
import { type RecordsReport, verifyRecords } from "../records/verify.ts";
import { agentCommand, agentExec, type AgentOptions } from "./agent.ts";
import type { GuestRecord } from "./definition.ts";

/** What a guest needs to know of its lab. */
export interface GuestHome {
  readonly hosts: readonly LabHost[];
  /** The folder of all guests' acknowledgements, on the machine. */
  readonly acks: string;
  /** What is `/srv/shared` on the hosts. */
  readonly shared: string;
}

/** A guest of the lab. Where it runs is libvirt's to say, and anybody's to change: methods that need to know ask or are told. */
export class LabGuest {
  readonly name: string;
  readonly record: GuestRecord;
  readonly #home: GuestHome;

  constructor(record: GuestRecord, home: GuestHome) {
    this.name = record.name;
    this.record = record;
    this.#home = home;
  }

  /** The host that it was created on. */
  get home(): LabHost {
    return this.#hostNamed(this.record.home);
  }

  /** The log of its acknowledgements, on the machine. */
  get acksFile(): string {
    return join(this.#home.acks, `${this.name}.log`);
  }

  /** Starts it where it is defined; resolves when QEMU runs. */
  async start(host: LabHost = this.home, options: AgentOptions = {}): Promise<void> {
    await host.virsh(["start", this.name], { signal: options.signal, timeoutMs: options.timeoutMs });
  }

  /** Ends it as a power cut would. */
  async destroy(host: LabHost, options: AgentOptions = {}): Promise<void> {
    await host.virsh(["destroy", this.name], { signal: options.signal, timeoutMs: options.timeoutMs });
  }

  /** `running`, `paused`, `shut off`, …; undefined where it is not defined. */
  async state(host: LabHost): Promise<string | undefined> {
    const { code, stdout } = await host.virsh(["domstate", this.name], { check: false });
    return code === 0 ? stdout.trim() : undefined;
  }

  /** Every host that is up and where it is active (running or paused). */
  async whereabouts(): Promise<LabHost[]> {
    const hosts = this.#home.hosts.filter((host) => host.isUp);
    const states = await Promise.all(hosts.map((host) => this.state(host)));
    return hosts.filter((_, at) => states[at] !== undefined && states[at] !== "shut off");
  }

  /** The one host where it is active. Rejects with `not-found` when there is none, `failed` when there are more. */
  async host(): Promise<LabHost> {
    const [host, ...more] = await this.whereabouts();
    if (!host) throw new LabError("not-found", `guest ${this.name} runs on no host`, { guest: this.name });
    if (more.length > 0) {
      const names = [host, ...more].map((one) => one.name);
      throw new LabError("failed", `guest ${this.name} is on more than one host: ${names.join(", ")}`, { hosts: names });
    }
    return host;
  }

  /** One command to its agent; see QEMU's guest agent protocol. */
  async agent(execute: string, args: object = {}, options: AgentOptions & { readonly host?: LabHost } = {}): Promise<unknown> {
    return agentCommand(options.host ?? (await this.host()), this.name, execute, args, options);
  }

  /** Runs a command inside; resolves to what it printed. */
  async exec(argv: readonly string[], options: AgentOptions & { readonly host?: LabHost } = {}): Promise<Buffer> {
    return agentExec(options.host ?? (await this.host()), this.name, argv, options);
  }

  /** Resolves when its agent answers. */
  async waitForAgent(options: AgentOptions & { readonly host?: LabHost } = {}): Promise<void> {
    const host = options.host ?? (await this.host());
    await until(
      `the agent of guest ${this.name} on ${host.name}`,
      (signal) =>
        agentCommand(host, this.name, "guest-ping", {}, { signal, timeoutMs: 2_000 }).then(
          () => true,
          () => undefined,
        ),
      { signal: options.signal, timeoutMs: options.timeoutMs ?? 60_000, everyMs: 250 },
    );
  }

  /** What it has acknowledged so far. */
  async acknowledgements(): Promise<AcknowledgementLog> {
    return parseAcknowledgements(await readFile(this.acksFile, "utf8"));
  }

  /** Watches its acknowledgements from now on: for waiting on progress, and for the pauses a client would notice. */
  watch(): Promise<AckWatch> {
    return watchAcknowledgements(this.acksFile);
  }

  /** Resolves when it has acknowledged `count` more records. */
  async waitForRecords(count: number, options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {}): Promise<void> {
    await using watch = await this.watch();
    await watch.next(count, options);
  }

  /**
   * Checks the records of the running guest against all it acknowledged before the call. The guest reads
   * them for us, from the disk and not from its cache.
   */
  async verifyLive(options: AgentOptions & { readonly host?: LabHost } = {}): Promise<RecordsReport> {
    const { acknowledged } = await this.acknowledgements();
    const command = "sync; echo 3 >/proc/sys/vm/drop_caches; exec gzip -1 -c /data/records";
    await this.waitForAgent(options); // just after a migration it may be slow to answer
    const packed = await this.exec(["/bin/sh", "-c", command], { timeoutMs: 60_000, ...options });
    return verifyRecords(gunzipSync(packed), acknowledged);
  }

  /**
   * Checks the records on its data disk, which may be in use, against all it acknowledged before the
   * call. For a local disk say on which host.
   */
  async verifyOffline(options: { readonly host?: LabHost; readonly signal?: AbortSignal } = {}): Promise<RecordsReport> {
    const { acknowledged } = await this.acknowledgements();
    const disk = this.record.disks[0];
    if (!disk) throw new LabError("invalid", `guest ${this.name} has no disk to verify`);
    const host = options.host ?? this.home;
    const path = disk.storage === "shared" ? disk.path.replace("/srv/shared", this.#home.shared) : host.path(disk.path);
    return verifyImage(path, { acknowledgements: acknowledged, format: disk.format, signal: options.signal });
  }

  #hostNamed(name: string): LabHost {
    const host = this.#home.hosts.find((candidate) => candidate.name === name);
    if (!host) throw new LabError("not-found", `no host ${name} for guest ${this.name}`);
    return host;
  }
}
