import type { HostShell } from "../../../ports/shell.ts";
import type { DiskXml } from "../xml/index.ts";

/**
 * Images come one a line on stdin: the version of each qcow2 image, big-endian behind its magic number (qcow2.txt,
 * "Header"). `$1` is the id of a running domain, else -1; then come folders of its disks. Prints the folder that libvirt
 * made for this run of the domain: QEMU may write there whatever confines it, and it vanishes with the domain. Then, a
 * line each, folders for scratch files, df's view of them in the same order, and the TCP ports that somebody listens on,
 * in hexadecimal digits.
 */
const look = `
while IFS= read -r path; do printf 'version %s\\n' "$(od -An -tu1 -j4 -N4 "$path" 2>/dev/null)"; done
id=$1; shift; [ "$id" -ge 0 ] || exit 0
for folder in /var/lib/libvirt/qemu/domain-"$id"-*; do [ -d "$folder" ] && own=$folder; done
[ -z "$own" ] || { printf 'own %s\\n' "$own"; set -- "$own" "$@"; }
for folder do shift; if [ -d "$folder" ]; then set -- "$@" "$folder"; printf 'folder %s\\n' "$folder"; fi; done
[ $# -eq 0 ] || df -Pk "$@"
sed -n 's/^ *[0-9]*: [0-9A-F]*:\\([0-9A-F]\\{4\\}\\) [0-9A-F:]* 0A .*/listening \\1/p' /proc/net/tcp /proc/net/tcp6 2>/dev/null; :`;

/** Where a running VM's overwritten blocks may be kept, best first, and which ports are taken. */
export interface Rooms {
  /** libvirt's folder for this run of the VM; undefined for one that is off, or where libvirt keeps none there. */
  readonly own?: string | undefined;
  readonly folders: readonly { readonly directory: string; readonly freeBytes: number }[];
  readonly listening: ReadonlySet<number>;
}

export interface HostLook {
  /** Of each qcow2 image, by its path. */
  readonly versions: ReadonlyMap<string, number>;
  readonly rooms: Rooms;
}

/** One look at a host for all that its shell must tell of a VM. `domainId` is below 0 for one that is off. */
export async function lookAtHost(shell: HostShell, domainId: number, disks: readonly DiskXml[], signal: AbortSignal): Promise<HostLook> {
  const paths = disks.flatMap(({ source }) => (source?.path?.startsWith("/") === true ? [source.path] : []));
  const folders = new Set(paths.flatMap((path) => (path.startsWith("/dev/") ? [] : [path.slice(0, path.lastIndexOf("/"))])));
  const images = disks.flatMap(({ format, source }) => (format === "qcow2" && source?.path?.startsWith("/") === true ? [source.path] : []));
  if (domainId < 0 && images.length === 0) return parseLook("", []);
  const stdin = images.map((path) => `${path}\n`).join("");
  const { stdout } = await shell.run(["/bin/sh", "-c", look, "sh", `${domainId}`, ...folders], { signal, stdin });
  return parseLook(stdout, images);
}

/** Exported for its tests. */
export function parseLook(stdout: string, images: readonly string[]): HostLook {
  const lines = stdout.split("\n");
  const told = (word: string): string[] => lines.flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []));
  const versions = new Map(
    told("version").flatMap((bytes, at): [string, number][] => [[images[at] ?? "", Number(/(\d+)\s*$/.exec(bytes)?.[1])]]),
  );
  // "Filesystem 1024-blocks Used Available Capacity Mounted on": names may have blanks, so it is read from the percentage on.
  const free = lines.flatMap((line) => /\s(\d{1,15})\s+\d{1,3}%\s+\/.*$/.exec(line)?.[1] ?? []);
  const directories = told("folder");
  // Should df have left one out, nobody knows which: the least of all is safe.
  const freeBytes = (at: number): number =>
    Number(free.length === directories.length ? free[at] : (free.toSorted((a, b) => Number(a) - Number(b))[0] ?? 0)) * 1024;
  const folders = directories.map((directory, at) => ({ directory, freeBytes: freeBytes(at) }));
  const listening = new Set(told("listening").map((digits) => Number.parseInt(digits, 16)));
  return { versions, rooms: { own: told("own")[0], folders, listening } };
}
