import assert from "node:assert/strict";
import { basename } from "node:path";
import { EngineError, type HostMigration, type HostView, type HypervisorHost, Migrations, type SourceFacts } from "../../src/index.ts";
import type { NetworkVerdict } from "../../src/model/network.ts";
import { MoveError, type MoveHooks, type MoveProgress, type MoveRequest } from "../../src/ports/migration.ts";
import type { DiskCopyState } from "../../src/ports/offline.ts";
import type { HostShell } from "../../src/ports/shell.ts";
import { vmFacts } from "../inventory/scripted-host.ts";

/** What one scripted host has of the one VM there is. */
interface HostState {
  readonly id: string;
  readonly folder: string;
  defined: boolean;
  /** `incoming` waits for its memory, `handed` has sent it. */
  process: "running" | "paused" | "incoming" | "handed" | undefined;
  /** Of the process: what the guest has worked out so far. */
  memory: string;
  autostart: boolean;
  /** It was shut down when it was last on. */
  ended: boolean;
  diskPath: string;
  /** Of a process that was started before the definition was changed. */
  liveDiskPath?: string;
  /** Where a running disk is being copied to, and how often it was asked about. */
  mirror: { readonly to: string; looks: number } | undefined;
  /** By path: content. */
  readonly files: Map<string, string>;
}

const raise = (error: Error): never => {
  throw error;
};
const notAsked = (): never => assert.fail("a move of a VM that stands still does not ask for this");
const host = (id: string): HostView => ({
  id,
  name: id,
  uri: "",
  state: "up",
  stateSince: "",
  reason: { code: "", text: "" },
  vms: { total: 1, running: 0 },
});

/** The guest's memory when a trial begins. */
export const work = "hours of work";

/**
 * Two hosts, one VM, and as much of a hypervisor as moves of a VM that stands still, and of its disks, need. It
 * fails what must never happen: two that run, memory that runs twice, a disk in use deleted, a VM without definition.
 */
export class ScriptedSite {
  readonly alpha = hostState("alpha", "/a");
  readonly bravo = hostState("bravo", "/b");
  readonly migrations: Migrations;
  /** The one that moves of a guest that runs go over. */
  network: NetworkVerdict | undefined;
  outsideOfPools: (path: string) => boolean = () => false;
  /** Of the hosts; they have none by default. */
  shell: HostShell | undefined;
  /** Called before a host does one of these things. */
  before: (what: "perform" | "redefine" | "save" | "copyTo" | "resume") => void = () => undefined;
  #restored = 0;

  constructor(vm: "running" | "off") {
    Object.assign(this.alpha, { defined: true, autostart: true, diskPath: "/a/web.qcow2" });
    this.alpha.files.set("/a/web.qcow2", "the disk");
    if (vm === "running") Object.assign(this.alpha, { process: "running", memory: work });
    this.migrations = new Migrations({
      hosts: {
        hosts: () => [host("alpha"), host("bravo")],
        host,
        vm: () => ({ ...vmFacts("v", { name: "web" }), lastKnownState: "off", hostId: "alpha", host: "alpha", seenAt: "" }),
        hypervisor: (id) => ({ uuid: id }) as HypervisorHost,
        shell: () => this.shell ?? raise(new EngineError("invalid", "no shell")),
        refreshVm: () => Promise.resolve(undefined),
      },
      networks: {
        list: () => [],
        verdicts: () => Promise.resolve(this.network ? [this.network] : []),
        liveMigration: () => Promise.resolve({ order: [], exclude: [] }),
        hostMigration: () => Promise.resolve({ useAnyNetwork: true, maximumLiveMigrations: 2, maximumStorageMigrations: 2, networks: [] }),
      },
      open: ({ uuid }) => this.#side(uuid === "alpha" ? this.alpha : this.bravo),
      clock: { now: () => Date.now(), monotonic: () => performance.now(), sleep: () => new Promise(setImmediate) },
    });
  }

  #check(): void {
    const hosts = [this.alpha, this.bravo];
    assert.ok(hosts.filter(({ process }) => process === "running").length <= 1, "two run");
    assert.ok(
      hosts.some(({ defined }) => defined),
      "it is defined nowhere",
    );
    assert.ok(this.#restored <= 1, "saved memory was let run twice");
    for (const { defined, diskPath, files } of hosts) if (defined) assert.ok(files.has(diskPath), `its disk ${diskPath} is gone`);
  }

  #side(own: HostState): HostMigration {
    const act = async <T>(body: () => T): Promise<T> => {
      await Promise.resolve();
      const result = body();
      this.#check();
      return result;
    };
    return {
      ...lookingAt(own, act),
      ...this.#standing(own, act),
      ...movingDisks(own, act, () => this.before("redefine")),
      unchanged: notAsked,
      judgeAgain: notAsked,
      move: (_, request, hooks, { signal }) => this.#move(request, hooks, signal),
      forget: () => act(() => void Object.assign(own, { process: undefined, defined: false })),
      ensureGenerationId: notAsked,
      startThrowaway: notAsked,
      endThrowaway: notAsked,
      killThrowaway: notAsked,
      limitPause: () => Promise.resolve(),
      resume: () =>
        act(() => {
          assert.ok(own.process === "paused" || own.process === "handed");
          this.before("resume");
          if (own.process === "paused") this.#restored += 1;
          own.process = "running";
        }),
      discard: () => act(() => void (own.process = undefined)),
      deleteDisks: (paths) =>
        act(() => {
          const left = paths.filter((path) => this.outsideOfPools(path) && own.files.has(path));
          for (const path of paths) if (!left.includes(path)) own.files.delete(path);
          return left.map((path) => ({ path, reason: "it is in no storage pool" }));
        }),
    };
  }

  /** As the adapter does: images first, then the phases, each on record before it begins but the one in which the guest stands still. */
  async #move({ copies }: MoveRequest, hooks: MoveHooks, signal: AbortSignal): Promise<MoveProgress> {
    const { alpha, bravo } = this;
    const path = `${bravo.folder}/${basename(alpha.diskPath)}`;
    if (copies.length > 0) {
      await hooks.phase("images");
      if (bravo.files.has(path)) throw new MoveError(`${path} is there already`, true);
      bravo.files.set(path, "");
    }
    await hooks.phase("prepare");
    bravo.process = "incoming";
    await hooks.phase("perform");
    this.before("perform");
    if (signal.aborted) {
      bravo.process = undefined;
      throw new MoveError("cancelled", true);
    }
    bravo.files.set(path, alpha.files.get(alpha.diskPath) ?? assert.fail("the disk is not there"));
    alpha.process = "handed";
    const recorded = hooks.phase("finish");
    Object.assign(bravo, { process: "running", memory: alpha.memory, defined: true, diskPath: path, autostart: alpha.autostart });
    this.#check();
    await recorded;
    await hooks.phase("confirm");
    Object.assign(alpha, { process: undefined, defined: false });
    const none = { memoryTotalBytes: 1, memoryRemainingBytes: 0, diskTotalBytes: 0, diskProcessedBytes: 0, diskRemainingBytes: 0 };
    return { ...none, memoryProcessedBytes: 1 };
  }

  #standing(own: HostState, act: Act): Pick<HostMigration, StandingCalls> {
    const undefine = (): Promise<void> =>
      act(() => {
        if (own.process) throw new EngineError("conflict", "it is active");
        own.defined = false;
      });
    return {
      carried: (vmId) => act(() => ({ vmId, definition: own.diskPath, snapshots: [], checkpoints: [] })),
      define: (carried, mapping) =>
        act(() => {
          own.diskPath = mapping.disks[0]?.path ?? carried.definition;
          own.defined = true;
        }),
      undefine,
      release: undefine,
      setAutostart: (_, on) => act(() => void (own.autostart = on)),
      save: (_, file) =>
        act(() => {
          this.before("save");
          if (own.process !== "running") throw new EngineError("hypervisor", "it is not running");
          own.files.set(file, own.memory);
          own.process = undefined;
        }),
      restore: (file) =>
        act(() => {
          assert.equal(own.process, undefined);
          own.memory = own.files.get(file) ?? assert.fail(`${file} is not there`);
          own.process = "paused";
        }),
      copyTo: (_, copy) =>
        act(() => {
          this.before("copyTo");
          const [path, content] = [
            `${this.bravo.folder}/${copy.name}`,
            own.files.get(copy.from) ?? assert.fail(`${copy.from} is not there`),
          ];
          this.bravo.files.set(path, content);
          return { path, bytes: content.length, dataBytes: content.length, digest: content };
        }),
      writtenMark: (path) => act(() => own.files.get(path) ?? ""),
    };
  }
}

type Act = <T>(body: () => T) => Promise<T>;
type StandingCalls = "carried" | "define" | "undefine" | "release" | "setAutostart" | "save" | "restore" | "copyTo" | "writtenMark";

function hostState(id: string, folder: string): HostState {
  return {
    id,
    folder,
    defined: false,
    process: undefined,
    memory: "",
    autostart: false,
    ended: false,
    diskPath: "",
    mirror: undefined,
    files: new Map(),
  };
}

function lookingAt(own: HostState, act: Act): Pick<HostMigration, "source" | "measure" | "judge" | "copyPaths" | "sighting"> {
  return {
    source: () => act(() => sourceFacts(own)),
    measure: () => act(() => ({})),
    judge: () =>
      act(() => ({
        ...(own.defined && { sameUuid: { name: "web", active: own.process !== undefined } }),
        cpu: { fits: true, missing: [], text: "" },
        machine: { known: true, text: "" },
        freeMemoryBytes: 2 ** 40,
        nics: [],
        pools: [{ name: "local", present: true, active: true, path: own.folder, availableBytes: 2 ** 40, taken: [] }],
      })),
    copyPaths: (source) => act(() => source.disks.map((disk) => `${own.folder}/${basename(disk.path ?? "")}`)),
    sighting: () =>
      act(() => {
        if (own.process === "running") return { presence: "running", moving: false };
        if (own.process === "incoming") return { presence: "incoming" };
        if (own.process === "handed") return { presence: "paused", by: "migration", moving: false };
        if (own.process === "paused") return { presence: "paused", by: "other", moving: false };
        return own.defined ? { presence: "inactive", movedAway: false, ended: own.ended } : { presence: "absent" };
      }),
  };
}

function movingDisks(own: HostState, act: Act, redefines: () => void): Pick<HostMigration, DiskCalls> {
  const state = (to: string): DiskCopyState => {
    if ((own.liveDiskPath ?? own.diskPath) === to) return { phase: "switched" };
    if (own.mirror?.to !== to) return { phase: "absent" };
    own.mirror.looks += 1;
    return { phase: own.mirror.looks > 2 ? "ready" : "copying", doneBytes: own.mirror.looks, totalBytes: 3 };
  };
  const content = (): string => own.files.get(own.diskPath) ?? assert.fail("the disk is not there");
  return {
    pool: (name) => act(() => ({ name, active: true, path: name === "fast" ? "/fast" : own.folder, availableBytes: 2 ** 40 })),
    volumeTaken: (_, name) => act(() => own.files.has(`/fast/${name}`)),
    copyState: (_, { to }) => act(() => state(to)),
    beginCopy: (_, { to }) =>
      act(() => {
        own.files.set(to, "half");
        own.mirror = { to, looks: 0 };
      }),
    switchOver: (_, { to }) =>
      act(() => {
        own.files.set(to, content());
        [own.diskPath, own.mirror] = [to, undefined];
      }),
    abortCopy: () => act(() => void (own.mirror = undefined)),
    convert: ({ to }) => act(() => void own.files.set(to, content())),
    redefine: (_, { disks }) =>
      act(() => {
        redefines();
        own.diskPath = disks[0]?.path ?? "";
      }),
  };
}

type DiskCalls = "pool" | "volumeTaken" | "copyState" | "beginCopy" | "switchOver" | "abortCopy" | "convert" | "redefine";

function sourceFacts({ process, diskPath, autostart }: HostState): SourceFacts {
  const disk = { target: "vda", device: "disk", type: "file", path: diskPath, format: "qcow2" } as const;
  return {
    vm: vmFacts("v", { name: "web", state: process === undefined ? "off" : process === "running" ? "running" : "paused", autostart }),
    disks: [{ ...disk, readOnly: false, shareable: false, capacityBytes: 1, backing: [] }],
    nics: [],
    ties: [],
    files: [],
    snapshots: [],
    keptByHost: [],
    savedMemory: false,
    definition: undefined,
  };
}
