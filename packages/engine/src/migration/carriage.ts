import { describeError } from "@godwit/core";
import { randomUUID } from "node:crypto";
import type { JobContext } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { HypervisorHost } from "../ports/hypervisor.ts";
import { type HostMigration, MoveError, type MoveProgress, type MoveRequest } from "../ports/migration.ts";
import type { FileCopy } from "../ports/offline.ts";
import type { HostShell } from "../ports/shell.ts";
import { maximumThrowawayDisks, type Throwaway, throwawayDisk } from "../ports/throwaway.ts";
import { deleteDisks } from "./evidence.ts";
import { canCompare, compareFiles, lengthOf, trim } from "./host-digest.ts";
import type { FileProof, MigrationAttempt, MigrationInput } from "./model.ts";
import type { Migrations } from "./service.ts";
import { reaches } from "./sharing.ts";

/** A file to carry, and where it will be. */
export interface CarriedFile extends FileCopy {
  readonly to: string;
}

/** What a carriage came to: the network that it went over, and a proof for each file. */
export interface Carriage {
  readonly network: Pick<NetworkVerdict, "networkId" | "network" | "destinationAddress">;
  readonly attempts: readonly MigrationAttempt[];
  readonly files: readonly FileProof[];
}

/** A copy that has not begun, or does not move, for so long is given up. */
const startMs = 30_000;
const stallMs = 12_000;
/**
 * A cancelled copy writes out what is on its way first. libvirtd 9.0 itself dies when the guest is ended while it
 * cancels the copy of its disks, so that is the last resort.
 */
const cancelMs = 60_000;

/** A pause means nothing to a guest that never runs. */
const noHurry = { maximumPauseMs: 10_000, policy: "strict" } as const;

interface Ends {
  readonly source: HostMigration;
  readonly destination: HostMigration;
  readonly destinationHost: HypervisorHost;
  readonly shells: { readonly source: HostShell; readonly destination: HostShell };
}

/**
 * Carries the files of a VM that stands still from host to host, over the networks that the rules choose: as disks of
 * a throw-away guest, which the hypervisor moves with them. While they are on their way nobody else can start from
 * them. Afterwards both hosts read them, and their checksums are compared.
 */
export class Carrier {
  readonly #migrations: Migrations;
  readonly #context: JobContext<MigrationInput>;
  readonly #cleared = new Set<"source" | "destination">();

  constructor(migrations: Migrations, context: JobContext<MigrationInput>) {
    this.#migrations = migrations;
    this.#context = context;
  }

  /** Undefined, with the reason on the job, when the files have to go another way. Rejects once some of them had gone. */
  async carry(files: readonly CarriedFile[], networks: readonly NetworkVerdict[]): Promise<Carriage | undefined> {
    const chain = networks.filter(({ rank }) => rank !== undefined);
    const ends = await this.#ends(files, chain);
    if (typeof ends === "string") return await this.#throughServer(ends);
    const attempts: MigrationAttempt[] = [];
    for (const network of chain) {
      const { networkId, network: name, destinationAddress = "" } = network;
      const failure = await this.#over(network, files, ends);
      const made = { networkId, network: name, destinationAddress };
      if (failure === undefined) {
        attempts.push({ ...made, outcome: "carried", reason: { code: "carried", text: "it carried the files" } });
        return { network, attempts, files: await this.#proofs(files, ends) };
      }
      // The next way would put its own guest on record in place of this one.
      if (this.#cleared.size < 2)
        throw new EngineError(
          "hypervisor",
          `the files did not arrive over ${name}, and the guest that carried them is still there: ${failure}`,
        );
      attempts.push({ ...made, outcome: "no-connection", reason: { code: "no-connection", text: failure } });
      await this.#context.reason({ code: "next-network", text: `${name} does not carry the files: ${failure}` });
    }
    return await this.#throughServer(attempts.map(({ network, reason }) => `${network}: ${reason.text}`).join("; "));
  }

  /** Ends the throw-away guest where it is still; true when a host could not be asked. Safe to repeat. */
  async clear(sides: { readonly source: HostMigration | undefined; readonly destination: HostMigration | undefined }): Promise<boolean> {
    const guest = this.#context.recorded("throwaway")?.output as { readonly id: string } | undefined;
    if (!guest) return false;
    const end = async (which: "source" | "destination"): Promise<void> => {
      if (this.#cleared.has(which) || !sides[which]) return;
      await sides[which].endThrowaway(guest.id, { signal: this.#context.stopping });
      this.#cleared.add(which);
    };
    const ended = await Promise.allSettled([end("source"), end("destination")]);
    this.#context.stopping.throwIfAborted();
    for (const one of ended)
      if (one.status === "rejected")
        this.#context.log("warn", `the guest that carried the files is still there: ${describeError(one.reason)}`);
    return this.#cleared.size < 2;
  }

  async #throughServer(why: string): Promise<undefined> {
    await this.#context.reason({ code: "through-server", text: `the files go through the server: ${why}` });
    return undefined;
  }

  /** Both ends, or why nothing can go between them. */
  async #ends(files: readonly CarriedFile[], chain: readonly NetworkVerdict[]): Promise<Ends | string> {
    const { hosts, open } = this.#migrations.options;
    const { sourceId, destinationId, source, destination } = this.#context.input;
    if (this.#context.input.carryFiles !== true) return "nobody asked to have them carried from host to host (--carry-files)";
    if (chain.length === 0) return `no network may carry a migration from ${source} to ${destination}`;
    if (files.length > maximumThrowawayDisks) return `more than ${maximumThrowawayDisks} files are not carried at once`;
    const shells = { source: this.#migrations.shell(sourceId), destination: this.#migrations.shell(destinationId) };
    if (!shells.source || !shells.destination)
      return `${shells.source ? destination : source} has no shell by which its files could be compared`;
    const { signal } = this.#context;
    const able = await Promise.all([canCompare(shells.source, signal), canCompare(shells.destination, signal)]);
    if (!able.every(Boolean)) return `${able[0] ? destination : source} lacks what compares files: sha256sum and dd of coreutils`;
    const destinationHost = hosts.hypervisor(destinationId);
    return {
      source: open(hosts.hypervisor(sourceId)),
      destination: open(destinationHost),
      destinationHost,
      shells: { source: shells.source, destination: shells.destination },
    };
  }

  /** Undefined when this network carried all files; else why not a byte went over it. */
  async #over(network: NetworkVerdict, files: readonly CarriedFile[], ends: Ends): Promise<string | undefined> {
    const { sourceAddress, destinationAddress = "", network: name } = network;
    const { signal, input } = this.#context;
    if (sourceAddress !== undefined && (await reaches(ends.shells.source, sourceAddress, destinationAddress, signal)) === "silent")
      return `${destinationAddress} does not answer ${sourceAddress}`;
    const guest: Throwaway = { id: randomUUID(), purpose: "copy", like: input.vmId, files: files.map(({ from }) => from), runs: false };
    const request: MoveRequest = {
      vmId: guest.id,
      destinationAddress,
      copies: files.map(({ pool }, at) => ({ target: throwawayDisk(at), pool })),
      networks: {},
      sharingProven: false,
      contract: noHurry,
      transport: { tls: input.tls ?? false, zeroCopy: false },
      bandwidthBytesPerSecond: input.bandwidthBytesPerSecond,
    };
    await this.#context.note("throwaway", { id: guest.id });
    this.#cleared.clear();
    let [sent, arrived] = [0, false];
    const end = (): Promise<void> => ends.source.killThrowaway(guest.id, ends.shells.source, { signal: this.#context.stopping });
    using stall = this.#watchForStall(end, ends.destinationHost.closed);
    const progress = (figures: MoveProgress): void => {
      if (figures.diskProcessedBytes > sent) stall.moved();
      sent = Math.max(sent, figures.diskProcessedBytes);
      this.#show(`copying ${files.length} files over ${name}`, figures);
    };
    try {
      await ends.source.startThrowaway(guest, { signal });
      await ends.source.move(ends.destinationHost, request, { phase: () => Promise.resolve(), progress }, { signal });
      arrived = true;
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      const refused = error instanceof MoveError || (error instanceof EngineError && error.kind === "hypervisor");
      if (sent > 0 || !refused) throw new EngineError("hypervisor", `the files did not arrive over ${name}`, {}, { cause: error });
      return describeError(error);
    } finally {
      if (!this.#context.stopping.aborted) await this.clear(ends);
      if (!arrived && sent === 0) await this.#removeEmpty(files);
    }
  }

  /**
   * The hypervisor gives a copy of disks up only when the other end answers, or TCP does not wait any longer. This guest
   * can simply be ended, and its move with it: when no byte moves any more, when a cancel does not come to an
   * end, and when nobody is left who could take it in (`lost`).
   */
  #watchForStall(end: () => Promise<void>, lost: Promise<unknown>): { moved(): void } & Disposable {
    const { clock } = this.#migrations.options;
    const { signal } = this.#context;
    const over = new AbortController();
    let giveUpAt = clock.monotonic() + startMs;
    let doomed = false;
    const endIn = (ms: number): void => {
      doomed = true;
      giveUpAt = clock.monotonic() + ms;
    };
    const watch = async (): Promise<void> => {
      for (let left = startMs; left > 0; left = giveUpAt - clock.monotonic())
        await clock.sleep(Math.min(left, 500), { signal: over.signal });
      this.#context.log("warn", "the files do not arrive: the guest that carries them is ended");
      await end();
    };
    watch().catch(() => undefined); // It arrived before, or what ends it later says why not now.
    const cancelled = (): void => endIn(cancelMs);
    void lost.then(() => (signal.aborted ? undefined : endIn(0)));
    signal.addEventListener("abort", cancelled, { once: true });
    return {
      moved: () => void (giveUpAt = doomed ? giveUpAt : clock.monotonic() + stallMs),
      [Symbol.dispose]: () => {
        over.abort();
        signal.removeEventListener("abort", cancelled);
      },
    };
  }

  /** Images that were made for files of which nothing came: the next way makes its own. */
  async #removeEmpty(files: readonly CarriedFile[]): Promise<void> {
    if (this.#context.signal.aborted) return;
    const paths = files.map(({ to }) => to);
    await deleteDisks(this.#migrations, this.#context, { hostId: this.#context.input.destinationId, paths, name: "the copy" });
  }

  async #proofs(files: readonly CarriedFile[], { shells }: Ends): Promise<FileProof[]> {
    const { signal } = this.#context;
    const proofs: FileProof[] = [];
    for (const { from, to } of files) {
      const [original, copy] = [
        { shell: shells.source, path: from },
        { shell: shells.destination, path: to },
      ];
      const bytes = await lengthOf(original, signal);
      await trim(copy, bytes, signal);
      const progress = (done: number): void =>
        this.#context.progress({ phase: `comparing ${to}`, fraction: 0.8 + 0.1 * (done / Math.max(1, bytes)) });
      const { same, dataBytes, digest } = await compareFiles(original, copy, { bytes, signal, progress });
      if (!same) throw new EngineError("hypervisor", `${to} is not what ${from} is: their checksums differ`, { from, to });
      proofs.push({ from, to, bytes, dataBytes, digest });
    }
    return proofs;
  }

  #show(phase: string, { diskTotalBytes, diskRemainingBytes, bytesPerSecond }: MoveProgress): void {
    const fraction = 0.4 + (diskTotalBytes > 0 ? 0.4 * (1 - diskRemainingBytes / diskTotalBytes) : 0);
    this.#context.progress({ phase, fraction, diskTotalBytes, diskRemainingBytes, bytesPerSecond });
  }
}
