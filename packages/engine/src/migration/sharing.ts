import { randomBytes } from "node:crypto";
import { type Clock, raceAbort } from "@godwit/core";
import { dirname } from "node:path";
import type { HostShell } from "../ports/shell.ts";
import { LineQuestions } from "./line-questions.ts";
import type { Sharing } from "./preflight.ts";

/** `$1` is the folder, `$2` the token: writes it; fails when the folder cannot be written. */
const write = `umask 077; printf %s "$2" >"$1/.godwit-$2"`;
const remove = `rm -f "$1/.godwit-$2"`;
/** `$1` is the token; folders come one a line. `yes` where the token is there. */
const look = `while IFS= read -r folder; do if [ "$(cat "$folder/.godwit-$1" 2>/dev/null)" = "$1" ]; then echo yes; else echo no; fi; done`;
/** Paths come one a line: `block` for devices, `file` for others, `none` for what is not there; `link` with the file behind one. */
const kinds = new LineQuestions(`nl='
'
while IFS= read -r path; do
  if [ -b "$path" ]; then echo block; elif [ ! -e "$path" ]; then echo none; elif [ ! -L "$path" ]; then echo file
  else behind=$(readlink -f "$path"); case "$behind" in *"$nl"*|"") echo unknown;; *) printf "link %s\\n" "$behind";; esac; fi
done`);
const link = "link ";

interface Hosts {
  readonly source: HostShell;
  readonly destination: HostShell;
  readonly signal: AbortSignal;
}

type FolderProofs = ReadonlyMap<string, Promise<Sharing>>;

/** Folders that were proven for other moves of the same plan, so that each pair of hosts is asked about each once. */
export class ProvenFolders {
  readonly #clock: Clock;
  readonly #proofs = new Map<string, { readonly at: number; readonly proof: Promise<Sharing> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Those of these folders that were asked about just now, and `ask` for the others. */
  of(pair: string, folders: readonly string[], ask: (folders: readonly string[]) => Promise<ReadonlyMap<string, Sharing>>): FolderProofs {
    const now = this.#clock.monotonic();
    for (const [key, { at }] of this.#proofs) if (now - at > provenMs) this.#proofs.delete(key);
    const keyOf = (folder: string): string => `${pair} ${folder}`;
    const unknown = folders.filter((folder) => !this.#proofs.has(keyOf(folder)));
    const asked = unknown.length > 0 ? ask(unknown) : Promise.resolve(new Map<string, Sharing>());
    for (const folder of unknown) {
      const proof = asked.then((found) => found.get(folder) ?? "unproven");
      this.#proofs.set(keyOf(folder), { at: now, proof });
      // Only a good answer is worth keeping: what is missing may come.
      const forget = (): void => void this.#proofs.delete(keyOf(folder));
      proof.then((one) => (one === "shared" ? undefined : forget()), forget);
    }
    return new Map(
      folders.flatMap((folder) => [
        [folder, this.#proofs.get(keyOf(folder))?.proof ?? asked.then((found) => found.get(folder) ?? "unproven")],
      ]),
    );
  }
}

/** A plan asks about all its moves within seconds. */
const provenMs = 20_000;

/**
 * Which of these files are the same on both hosts: a token written beside each on the source must be read
 * there on the destination. Block devices are not judged (`unproven`), nor folders that cannot be written.
 * The tokens are removed again, also after a failure.
 */
export async function proveSharing(
  paths: readonly string[],
  hosts: Hosts,
  proven?: { readonly folders: ProvenFolders; readonly pair: string },
): Promise<Map<string, Sharing>> {
  const result = new Map<string, Sharing>();
  if (paths.length === 0) return result;
  const found = await kinds.ask(hosts.destination, paths, hosts.signal);
  const behind = new Map<string, string>();
  for (const [index, path] of paths.entries()) {
    const kind = found[index] ?? "";
    if (kind === "none") result.set(path, "missing");
    else if (kind.startsWith(link)) behind.set(path, kind.slice(link.length));
    else if (kind !== "file") result.set(path, "unproven");
  }
  const rest = paths.filter((path) => !result.has(path));
  // A link in a folder that is shared may lead out of it.
  const foldersOf = (path: string): string[] => [path, behind.get(path) ?? path].map((one) => dirname(one));
  const folders = [...new Set(rest.flatMap(foldersOf))];
  const ask = (unknown: readonly string[]): Promise<ReadonlyMap<string, Sharing>> => proveFolders(unknown, hosts);
  const proofs = proven
    ? await settledProofs(proven.folders.of(proven.pair, folders, ask), ask, hosts.signal)
    : folders.length > 0
      ? await ask(folders)
      : new Map<string, Sharing>();
  for (const path of rest) result.set(path, worst(foldersOf(path).map((folder) => proofs.get(folder) ?? "unproven")));
  return result;
}

function worst(found: readonly Sharing[]): Sharing {
  return found.find((one) => one === "not-shared") ?? found.find((one) => one !== "shared") ?? "shared";
}

/** Who asked for all may have been cancelled since: then it is asked for again. */
async function settledProofs(
  proofs: FolderProofs,
  ask: (folders: readonly string[]) => Promise<ReadonlyMap<string, Sharing>>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Sharing>> {
  const settled = await Promise.allSettled(proofs.values());
  signal.throwIfAborted();
  const folders = [...proofs.keys()];
  const failed = folders.filter((_, at) => settled[at]?.status === "rejected");
  const again = failed.length > 0 ? await ask(failed) : new Map<string, Sharing>();
  return new Map(folders.map((folder, at) => [folder, valueOf(settled[at]) ?? again.get(folder) ?? "unproven"]));
}

function valueOf<T>(result: PromiseSettledResult<T> | undefined): T | undefined {
  return result?.status === "fulfilled" ? result.value : undefined;
}

async function proveFolders(folders: readonly string[], { source, destination, signal }: Hosts): Promise<Map<string, Sharing>> {
  const token = randomBytes(16).toString("hex");
  const written: string[] = [];
  try {
    for (const folder of folders) {
      const { code } = await source.run(["/bin/sh", "-c", write, "sh", folder, token], { signal });
      if (code === 0) written.push(folder);
    }
    const seen = await lines(destination, ["/bin/sh", "-c", look, "sh", token], written, signal);
    return new Map(written.map((folder, index) => [folder, sharingOf(seen[index])]));
  } finally {
    for (const folder of written) {
      await source.run(["/bin/sh", "-c", remove, "sh", folder, token], { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
    }
  }
}

/** Who says nothing, as a script that was ended does, has not said no: what is not shared is copied, and then deleted. */
function sharingOf(seen: string | undefined): Sharing {
  if (seen === "yes") return "shared";
  return seen === "no" ? "not-shared" : "unproven";
}

async function lines(shell: HostShell, argv: readonly string[], input: readonly string[], signal: AbortSignal): Promise<string[]> {
  if (input.length === 0) return [];
  const { stdout } = await shell.run(argv, { signal, stdin: input.map((line) => `${line}\n`).join("") });
  return stdout.split("\n");
}

const interfaces = new LineQuestions(`while IFS= read -r name; do if [ -e "/sys/class/net/$name" ]; then echo yes; else echo no; fi; done`);

/** Bridges and devices that guests' cards plug into, by name: is there such an interface? Without those of which the host said nothing. */
export async function findInterfaces(shell: HostShell, names: readonly string[], signal: AbortSignal): Promise<Map<string, boolean>> {
  const found = await interfaces.ask(shell, names, signal);
  return new Map(names.flatMap((name, index) => (found[index] ? [[name, found[index] === "yes"]] : [])));
}

/** `$1` source address, `$2` destination address. A refused connection is an answer, too. */
const reach = `
if command -v ping >/dev/null 2>&1 && ping -n -q -c 1 -W 1 -I "$1" "$2" >/dev/null 2>&1; then echo reached; exit 0; fi
if command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  said=$(LC_ALL=C timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/22"' "$2" 2>&1) && { echo reached; exit 0; }
  case "$said" in *refused*) echo reached; exit 0;; esac
  echo silent; exit 0
fi
command -v ping >/dev/null 2>&1 && echo silent || echo unknown`;

export type Reach = "reached" | "silent" | "unknown";

/** Whether the source reaches an address of the destination right now; within about three seconds. */
export async function reaches(shell: HostShell, from: string, to: string, signal: AbortSignal): Promise<Reach> {
  const { stdout } = await shell.run(["/bin/sh", "-c", reach, "sh", from, to], { signal });
  const answer = stdout.trim();
  return answer === "reached" || answer === "silent" ? answer : "unknown";
}

/** Moves of one drain begin within moments of each other; milliseconds. */
const reachedMs = 2000;

/** Shares a good answer of {@link reaches} among moves between the same hosts that begin within moments. */
export class RecentReach {
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly at: number; readonly answer: Promise<Reach> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async ask(
    shell: HostShell,
    from: string,
    to: string,
    options: { readonly sourceId: string; readonly signal: AbortSignal },
  ): Promise<Reach> {
    const { sourceId, signal } = options;
    const now = this.#clock.monotonic();
    for (const [key, { at }] of this.#known) if (now - at > reachedMs) this.#known.delete(key);
    const key = `${sourceId} ${from} ${to}`;
    const known = this.#known.get(key);
    // Whoever asked first may have been cancelled since, and bad news may be over.
    if (
      known &&
      (await raceAbort(
        known.answer.catch(() => "unknown"),
        signal,
      )) === "reached"
    )
      return "reached";
    const answer = reaches(shell, from, to, signal);
    answer.catch(() => undefined);
    this.#known.set(key, { at: now, answer });
    return await answer;
  }
}
