import { setTimeout } from "node:timers/promises";
import { BlockError, type BlockSource, type Extent } from "@godwit/core";
import {
  type BackupFacts,
  BaseLostError,
  EngineError,
  type ExportedDisk,
  type ExportRoute,
  type HostBackup,
  type MomentRequest,
  RouteLostError,
} from "../../src/index.ts";

export const chunkBytes = 4096;
export const diskBytes = 16 * chunkBytes;

class Bytes implements BlockSource {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #lost: () => boolean;
  constructor(bytes: Uint8Array, lost: () => boolean) {
    this.#bytes = bytes;
    this.#lost = lost;
    this.size = bytes.length;
  }
  async *extents(): AsyncGenerator<Extent> {
    yield { offset: 0, length: this.size, kind: "data" };
  }
  async read(offset: number, into: Uint8Array): Promise<void> {
    if (offset + into.length > 2 * chunkBytes && this.#lost()) throw new RouteLostError("the cable was pulled");
    if (offset + into.length > this.size) throw new BlockError("out-of-range", "past the end");
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A guest with one disk that goes on being written, and a hypervisor that keeps lists of its changes as QEMU does. */
export class ScriptedGuest {
  readonly disk = new Uint8Array(diskBytes);
  /** Changed chunks since each checkpoint, oldest first; undefined for one that a crash has damaged. */
  checkpoints = new Map<string, Set<number> | undefined>([["someone-else", new Set()]]);
  /** What the hypervisor has forgotten, though the disk still has it. */
  forgotten = new Map<string, Set<number> | undefined>();
  state: BackupFacts["state"] = "running";
  untracked: string | undefined;
  frozen = false;
  held = true;
  exported: string | undefined;
  failBegin: Error | undefined;
  /** Its exports cannot be opened, as when its process has just ended. */
  failOpen: Error | undefined;
  /** What it takes to tell what its writes took. */
  statsMs = 0;
  /** The way that breaks in the middle of the reading. */
  broken: ExportRoute["kind"] | undefined;
  /** Runs when it breaks. */
  onBreak: () => void = () => undefined;
  scratch = 1 << 30;
  /** The disk at each moment, by checkpoint. */
  readonly moments = new Map<string, Uint8Array>();
  #writes = 0;

  /** The guest writes somewhere. */
  write(): void {
    this.#writes += 1;
    const chunk = (this.#writes * 5) % 16;
    this.disk.fill(this.#writes % 251, chunk * chunkBytes, (chunk + 1) * chunkBytes);
    for (const changed of this.checkpoints.values()) changed?.add(chunk);
    for (const changed of this.forgotten.values()) changed?.add(chunk);
  }

  /** As after kill -9 of its process. */
  crash(): void {
    for (const name of this.checkpoints.keys()) this.checkpoints.set(name, undefined);
    this.exported = undefined;
    this.frozen = false;
  }

  /** As after a live migration: the disks have all, the hypervisor knows nothing. */
  arriveElsewhere(): void {
    this.forgotten = this.checkpoints;
    this.checkpoints = new Map();
  }

  facts(): BackupFacts {
    return {
      vmId: "v1",
      name: "web",
      state: this.state,
      disks: [
        { target: "vda", capacityBytes: diskBytes, format: "qcow2", ...(this.untracked !== undefined && { untracked: this.untracked }) },
      ],
      leftOut: [],
      agent: "connected",
      ...(this.exported !== undefined && { moment: this.exported }),
      checkpoints: [...this.checkpoints.keys()],
    };
  }

  backup(): HostBackup {
    return {
      facts: async () => this.facts(),
      machine: async () => ({ definition: "<domain><uuid>v1</uuid></domain>", files: [] }),
      begin: async (_, request) => this.#begin(request),
      tls: async () => ({ missing: "scripted" }),
      scratchLeft: async () => this.scratch,
      writeStats: async () => {
        if (this.statsMs > 0) await setTimeout(this.statsMs);
        return { requests: 100, totalMs: 50 };
      },
      end: async (_, { moment, checkpoint }, { forget, before }) => {
        this.frozen = false;
        if (this.exported === moment) this.exported = undefined;
        if (forget) this.#delete(checkpoint);
        else if (before !== undefined) this.#delete(before);
      },
      restoreCheckpoint: async (_, xml) => {
        const name = /<name>(.*)<\/name>/.exec(xml)?.[1] ?? "";
        const kept = this.forgotten.get(name);
        if (!kept) return false;
        this.checkpoints.set(name, kept);
        return true;
      },
      deleteCheckpoint: async (_, name) => this.#delete(name),
    };
  }

  /** Each list is whole in itself here, so that nothing has to be merged. */
  #delete(name: string): void {
    this.checkpoints.delete(name);
    this.forgotten.delete(name);
  }

  #begin(request: MomentRequest): Awaited<ReturnType<HostBackup["begin"]>> {
    if (this.failBegin) throw this.failBegin;
    if (this.exported !== undefined) throw new EngineError("hypervisor", "another backup runs");
    const base = request.base === undefined ? undefined : this.checkpoints.get(request.base);
    if (request.base !== undefined && !base) throw new BaseLostError("the bitmap is gone");
    const content = Uint8Array.from(this.disk);
    const changed = [...(base ?? [])].toSorted((a, b) => a - b);
    this.moments.set(request.checkpoint, content);
    this.exported = request.moment;
    if (this.state === "running") this.checkpoints.set(request.checkpoint, new Set());
    this.write();
    const disks = request.disks.map(({ target, mode }): ExportedDisk => {
      return {
        target,
        mode,
        open: async () => {
          if (this.failOpen) throw this.failOpen;
          return new Bytes(content, () => {
            const lost = request.route?.kind === this.broken && this.broken !== undefined;
            if (lost) this.onBreak();
            return lost;
          });
        },
        ...(mode === "incremental" && {
          async *changed() {
            for (const chunk of changed) yield { offset: chunk * chunkBytes, length: chunkBytes, kind: "data" } as const;
          },
        }),
      };
    });
    const outcome = !request.freeze ? "not-asked" : this.held ? "held" : "broken";
    return {
      at: "2026-01-01T00:00:00.000Z",
      disks,
      freeze: { outcome, frozenMs: 5, fileSystems: 1, text: `the scripted freeze: ${outcome}` },
      scratch: { directory: "/scratch", freeBytes: this.scratch, moment: request.moment },
      ...(this.state === "running" && { checkpointXml: `<domaincheckpoint><name>${request.checkpoint}</name></domaincheckpoint>` }),
    };
  }
}
