import { describeError } from "@godwit/core";
import type { JobContext } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { HostShell } from "../ports/shell.ts";
import type { FileProof, MigrationInput, SmallFile } from "./model.ts";
import type { Migrations } from "./service.ts";

/**
 * Files of a few MiB that belong to a VM and are in no storage pool, such as its firmware's variables. They go through
 * the server, packed: what a shell may say is 1 MiB, and such files are mostly zeros.
 */
export interface SmallFileEnds {
  readonly source: HostShell;
  readonly destination: HostShell;
  readonly signal: AbortSignal;
}

const read = `set -e; stat -L -c %s -- "$1"; sha256sum <"$1" | cut -c 1-64; gzip -c <"$1" | base64`;

/** What is there already, and nobody uses, is put aside; the new file is there whole or not at all. */
const write = `set -e; umask 077; mkdir -p -- "$(dirname -- "$1")"; base64 -d | gzip -d >"$1.godwit-new"; sync -- "$1.godwit-new"
if [ -e "$1" ] && [ ! -e "$1.before-godwit" ]; then mv -- "$1" "$1.before-godwit"; fi
mv -f -- "$1.godwit-new" "$1"; sha256sum <"$1" | cut -c 1-64`;

/** Aside, not away: where both hosts see one file after all, it is gone from the destination as well, and comes back. */
const setAside = `if [ -e "$1" ]; then mv -f -- "$1" "$1.godwit-moved"; fi`;
const putBack = `if [ -e "$1.godwit-moved" ] && [ ! -e "$1" ]; then mv -- "$1.godwit-moved" "$1"; fi`;
const isThere = `if [ -e "$1" ]; then echo yes; fi`;

const undoNew = `rm -f -- "$1.godwit-new" "$1"`;
const undoReplaced = `rm -f -- "$1.godwit-new"; if [ -e "$1.before-godwit" ]; then mv -f -- "$1.before-godwit" "$1"; fi`;

async function run(shell: HostShell, script: string, path: string, signal: AbortSignal, stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await shell.run(["/bin/bash", "-o", "pipefail", "-c", script, "bash", path], { signal, stdin });
  if (code !== 0)
    throw new EngineError("hypervisor", `${path} could not be copied: ${stderr.trim() || `exit code ${code ?? "none"}`}`, { path });
  return stdout;
}

/** Copies each to the same path of the destination; rejects with `hypervisor` unless all arrive as they were read. Safe to repeat. */
export async function carrySmallFiles(files: readonly SmallFile[], { source, destination, signal }: SmallFileEnds): Promise<FileProof[]> {
  const proofs: FileProof[] = [];
  for (const { path } of files) {
    const [bytes = "", sum = "", ...content] = (await run(source, read, path, signal)).split("\n");
    const arrived = (await run(destination, write, path, signal, content.join("\n"))).trim();
    if (arrived !== sum)
      throw new EngineError("hypervisor", `${path} is not what was read from the source: their checksums differ`, { sum, arrived });
    proofs.push({ from: path, to: path, bytes: Number(bytes), dataBytes: Number(bytes), digest: sum });
  }
  return proofs;
}

/** Takes copies away again from a destination that did not get the VM; what was put aside for them comes back. */
export async function undoSmallFiles(files: readonly SmallFile[], shell: HostShell, signal: AbortSignal): Promise<void> {
  for (const { path, replaces } of files) await run(shell, replaces ? undoReplaced : undoNew, path, signal);
}

/**
 * Once the VM is on the destination: the originals go, and what was put aside there. Rejects with `conflict` when an original
 * turns out to be the destination's own file; it stays then. Safe to repeat.
 */
export async function finishSmallFiles(files: readonly SmallFile[], { source, destination, signal }: SmallFileEnds): Promise<void> {
  for (const { path } of files) {
    await run(source, setAside, path, signal);
    if ((await run(destination, isThere, path, signal)).trim() !== "yes") {
      await run(source, putBack, path, signal);
      throw new EngineError("conflict", `${path} is one file on both hosts, and stays`, { path });
    }
    await run(source, 'rm -f -- "$1.godwit-moved"', path, signal);
    await run(destination, 'rm -f -- "$1.before-godwit"', path, signal);
  }
}

/** The small files of one move: on record before the first is written, taken back or finished by however it ended. */
export class SmallFiles {
  readonly #migrations: Migrations;
  readonly #context: JobContext<MigrationInput>;

  constructor(migrations: Migrations, context: JobContext<MigrationInput>) {
    this.#migrations = migrations;
    this.#context = context;
  }

  /** Before the destination has the VM. Safe to repeat. */
  async carry(files: readonly SmallFile[] | undefined): Promise<FileProof[]> {
    if (!files || files.length === 0) return [];
    const ends = this.#ends(this.#context.signal);
    await this.#context.note("small-files", files);
    return await carrySmallFiles(files, ends);
  }

  /** When the source keeps the VM. */
  async undo(): Promise<void> {
    await this.#settle(this.#context.input.destination, (files, { destination, signal }) => undoSmallFiles(files, destination, signal));
  }

  /** When the destination has it. */
  async finish(): Promise<void> {
    await this.#settle(this.#context.input.source, finishSmallFiles);
  }

  /** What cannot be done is a reason of the job: no guest depends on it. */
  async #settle(host: string, act: (files: readonly SmallFile[], ends: SmallFileEnds) => Promise<void>): Promise<void> {
    const files = this.#context.recorded("small-files")?.output as SmallFile[] | undefined;
    if (!files) return;
    const { stopping } = this.#context;
    try {
      await act(files, this.#ends(stopping));
    } catch (error) {
      stopping.throwIfAborted();
      const text = `${files.map(({ path }) => path).join(", ")} may be left on ${host}: ${describeError(error)}`;
      await this.#context.reason({ code: "file-left", text });
    }
  }

  #ends(signal: AbortSignal): SmallFileEnds {
    const { sourceId, destinationId, source, destination } = this.#context.input;
    const [from, to] = [this.#migrations.shell(sourceId), this.#migrations.shell(destinationId)];
    if (!from || !to) throw new EngineError("host-lost", `${from ? destination : source} has no shell`);
    return { source: from, destination: to, signal };
  }
}
