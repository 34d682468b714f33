import { createHash } from "node:crypto";
import { EngineError } from "../model/errors.ts";
import type { HostShell } from "../ports/shell.ts";

/** Part of a file, in bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Data begins and ends on this grid. */
const grain = 65_536;
/** Holes below this are read as the zeros that they are: a question for each part takes longer. */
const smallHole = 1 << 20;
/** Read by one command, whose time is limited: 20 s at 4 MiB/s. */
const pieceBytes = 64 << 20;
/** Parts in one command. */
const pieceParts = 400;

/** `$1` is the path. Says `all` without qemu-img, and where there are too many parts to tell. */
const mapScript = `
map=$(qemu-img map -U --output=json -f raw "$1" 2>/dev/null) || { echo all; exit 0; }
parts=$(printf '%s\\n' "$map" | sed -n 's/.*"start": *\\([0-9]*\\), *"length": *\\([0-9]*\\),.*"zero": *false.*/\\1 \\2/p')
if [ "\${#parts}" -gt 500000 ]; then echo all; else printf '%s\\n' "$parts"; fi`;

/** Where a file has data, in order; holes are what is between. */
export async function dataExtents({ shell, path }: HostFile, bytes: number, signal: AbortSignal): Promise<Extent[]> {
  const { code, stdout } = await shell.run(["/bin/sh", "-c", mapScript, "sh", path], { signal });
  if (code !== 0 || stdout.trim() === "all") return bytes === 0 ? [] : [{ offset: 0, length: bytes }];
  return stdout.split("\n").flatMap((row) => {
    const [offset = 0, length = 0] = row.split(" ").map(Number);
    return length > 0 && offset < bytes ? [{ offset, length: Math.min(length, bytes - offset) }] : [];
  });
}

/** Everything that is data in one list or the other, on the grid, with small holes between counted in. */
export function joinExtents(lists: readonly (readonly Extent[])[], bytes: number): Extent[] {
  const joined: { offset: number; length: number }[] = [];
  for (const { offset, length } of lists.flat().toSorted((a, b) => a.offset - b.offset)) {
    const from = offset - (offset % grain);
    const to = Math.min(bytes, Math.ceil((offset + length) / grain) * grain);
    const last = joined.at(-1);
    if (last && from <= last.offset + last.length + smallHole) last.length = Math.max(last.length, to - last.offset);
    else joined.push({ offset: from, length: to - from });
  }
  return joined;
}

/** Cut so that one command reads each group in time. */
export function pieces(extents: readonly Extent[]): Extent[][] {
  const groups: Extent[][] = [[]];
  let room = pieceBytes;
  for (const { offset, length } of extents) {
    for (let at = 0; at < length;) {
      if (room === 0 || (groups.at(-1)?.length ?? 0) >= pieceParts) {
        groups.push([]);
        room = pieceBytes;
      }
      const part = Math.min(room, length - at);
      groups.at(-1)?.push({ offset: offset + at, length: part });
      room -= part;
      at += part;
    }
  }
  return groups.filter((group) => group.length > 0);
}

/** `$1` is the path; parts come one a line, and go out as one checksum each. */
const sumScript = `
while read -r offset length; do
  dd if="$1" bs=65536 iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none | sha256sum | cut -c 1-64
done`;

async function sums({ shell, path }: HostFile, group: readonly Extent[], signal: AbortSignal): Promise<string[]> {
  const stdin = group.map(({ offset, length }) => `${offset} ${length}\n`).join("");
  const { code, stdout, stderr } = await shell.run(["/bin/sh", "-c", sumScript, "sh", path], { signal, stdin });
  const lines = stdout.trimEnd().split("\n");
  if (code !== 0 || stderr !== "" || lines.length !== group.length)
    throw new EngineError("hypervisor", `${path} could not be read back: ${stderr.trim() || `exit code ${code ?? "none"}`}`, { path });
  return lines;
}

/** A file on one host. */
export interface HostFile {
  readonly shell: HostShell;
  readonly path: string;
}

export interface Compared {
  readonly same: boolean;
  /** Bytes of data in the first, holes left out. */
  readonly dataBytes: number;
  /** SHA-256 over the checksum of each part with its place, and the length. */
  readonly digest: string;
}

/**
 * Whether two files of one length, each on its own host, have the same content: both hosts read what is data on either
 * of them, and what is compared is checksums. Nothing but those comes here.
 */
export async function compareFiles(
  one: HostFile,
  other: HostFile,
  { bytes, signal, progress }: { readonly bytes: number; readonly signal: AbortSignal; readonly progress: (doneBytes: number) => void },
): Promise<Compared> {
  const lists = await Promise.all([one, other].map((file) => dataExtents(file, bytes, signal)));
  const digest = createHash("sha256");
  let [same, done] = [true, 0];
  for (const group of pieces(joinExtents(lists, bytes))) {
    const [here = [], there = []] = await Promise.all([one, other].map((file) => sums(file, group, signal)));
    for (const [at, { offset, length }] of group.entries()) {
      same &&= here[at] === there[at];
      digest.update(`${offset} ${length} ${here[at] ?? ""}\n`);
      done += length;
    }
    progress(done);
  }
  const dataBytes = (lists[0] ?? []).reduce((sum, { length }) => sum + length, 0);
  return { same, dataBytes, digest: digest.update(`end ${bytes}`).digest("hex") };
}

/** Whether a host has what {@link compareFiles} and {@link trim} need: GNU coreutils. */
export async function canCompare(shell: HostShell, signal: AbortSignal): Promise<boolean> {
  const script =
    "command -v sha256sum truncate stat sync >/dev/null && dd if=/dev/null iflag=skip_bytes,count_bytes skip=0 count=0 status=none";
  return (await shell.run(["/bin/sh", "-c", script], { signal })).code === 0;
}

/** Length of a file in bytes. */
export async function lengthOf({ shell, path }: HostFile, signal: AbortSignal): Promise<number> {
  const { code, stdout, stderr } = await shell.run(["stat", "-L", "-c", "%s", "--", path], { signal });
  if (code !== 0 || !/^\d+\n?$/.test(stdout)) throw new EngineError("hypervisor", `${path} cannot be seen: ${stderr.trim()}`, { path });
  return Number(stdout);
}

/** Cuts what a disk has too much, for disks end with a whole sector; and puts the file on stable storage. */
export async function trim({ shell, path }: HostFile, bytes: number, signal: AbortSignal): Promise<void> {
  const script = 'truncate -c -s "$2" -- "$1" && sync -- "$1"';
  const { code, stderr } = await shell.run(["/bin/sh", "-c", script, "sh", path, String(bytes)], { signal });
  if (code !== 0) throw new EngineError("hypervisor", `${path} could not be ended at ${bytes} bytes: ${stderr.trim()}`, { path });
}
