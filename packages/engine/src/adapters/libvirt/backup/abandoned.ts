import type { HostShell } from "../../../ports/shell.ts";

/** Seconds: between two looks, and without a sign of life until the export is ended; and when there is no room left beside it. */
export interface WatchTimes {
  readonly everySeconds: number;
  readonly silentSeconds: number;
  readonly scarceSeconds: number;
}

const usualTimes: WatchTimes = { everySeconds: 10, silentSeconds: 15 * 60, scarceSeconds: 60 };
/** Room for overwritten blocks below which it is scarce, bytes, and as a share of what there was. */
const scarceBytes = 256 << 20;
const scarceShare = 1 / 4;

/** `$1` is a folder: its free KiB, which stand before the percentage. The file system's name may have blanks. */
const freeOf = `df -Pk "$1" | sed -n '2s|.*[[:space:]]\\([0-9][0-9]*\\)[[:space:]][[:space:]]*[0-9]*%.*|\\1|p'`;

/** `$2` is a moment, of which this is a sign of life as long as it is watched. */
const freeAndAlive = `[ ! -e "/run/godwit-$2/watch" ] || : >"/run/godwit-$2/alive"; ${freeOf}`;

/** For scripts on a host: ends the watch over moment `$1`. */
export const endWatch = `
pid=$(cat "/run/godwit-$1/watch" 2>/dev/null) && rm -f "/run/godwit-$1/watch" &&
  grep -aqsF -- "$1" "/proc/$pid/cmdline" && kill -- "-$pid" 2>/dev/null
`;

/**
 * `$1` moment, `$2` VM, `$3` libvirt URI, `$4` folder of the overwritten blocks, `$5` KiB that are scarce, then seconds:
 * `$6` between looks, `$7` of silence, `$8` of silence where room is scarce. Its own session, as the timer of a freeze.
 * Changes of the sign's time are counted, not times compared: clocks jump. It ends, and takes its folder away, when there
 * is no such export any more.
 */
const watch = `
command -v virsh >/dev/null 2>&1 && command -v setsid >/dev/null 2>&1 || exit 0
${endWatch}umask 077; mkdir -p "/run/godwit-$1" && : >"/run/godwit-$1/alive" || exit 0
setsid sh -c '
  run="/run/godwit-$1"; echo $$ >"$run/watch"; seen= quiet=0
  gone() { [ "$(cat "$run/watch" 2>/dev/null)" != $$ ] || rm -rf "$run"; }
  trap gone EXIT; trap "exit 0" TERM
  free() { set -- "$1"; ${freeOf.replaceAll("'", `'\\''`)}; }
  while sleep "$6"; do
    now=$(stat -c %y "$run/alive" 2>/dev/null) || exit 0
    if [ "$now" != "$seen" ]; then seen=$now quiet=0; continue; fi
    quiet=$((quiet + $6)); [ $quiet -le $(($7 * 8)) ] || exit 0
    case $(virsh -q -c "$3" backup-dumpxml "$2" 2>/dev/null) in
      *"godwit-$1-"*) ;;
      *) virsh -q -c "$3" domstate "$2" >/dev/null 2>&1 && exit 0; continue;;
    esac
    [ $quiet -ge "$8" ] || continue
    if [ $quiet -lt "$7" ]; then left=$(free "$4"); [ "\${left:-$5}" -lt "$5" ] || continue; fi
    virsh -q -c "$3" domjobabort "$2" >/dev/null 2>&1 || continue
    case $(LC_ALL=C virsh -q -c "$3" domstate --reason "$2" 2>/dev/null) in paused*"I/O"*) virsh -q -c "$3" resume "$2" >/dev/null 2>&1;; esac
    exit 0
  done' sh "$@" </dev/null >/dev/null 2>&1 &`;

export interface Watched {
  readonly moment: string;
  readonly vmId: string;
  /** libvirt's, as the host itself reaches it. */
  readonly uri: string;
  readonly scratch: { readonly directory: string; readonly freeBytes: number };
}

/**
 * Has the host itself end an export that nobody reads any more: what the guest overwrites is kept for it, until the guest
 * finds no room for its own writes. {@link scratchLeft} is the sign that somebody reads. A host that cannot is not asked.
 */
export async function watchExport(
  shell: HostShell,
  { moment, vmId, uri, scratch }: Watched,
  { signal, times = usualTimes }: { readonly signal: AbortSignal; readonly times?: WatchTimes },
): Promise<void> {
  const scarceKiB = Math.round(Math.min(scarceBytes, scratch.freeBytes * scarceShare) / 1024);
  const numbers = [scarceKiB, times.everySeconds, times.silentSeconds, times.scarceSeconds].map(String);
  await shell.run(["/bin/sh", "-c", watch, "sh", moment, vmId, uri, scratch.directory, ...numbers], { signal });
}

/** Bytes that are free for what a guest overwrites; undefined when the host does not say. Tells it that somebody reads. */
export async function scratchLeft(
  shell: HostShell,
  { directory, moment }: { readonly directory: string; readonly moment: string },
  { signal }: { readonly signal: AbortSignal },
): Promise<number | undefined> {
  const { stdout } = await shell.run(["/bin/sh", "-c", freeAndAlive, "sh", directory, moment], { signal });
  return /^\d{1,15}$/.test(stdout.trim()) ? Number(stdout) * 1024 : undefined;
}
