import { EngineError } from "../../../model/errors.ts";
import { type ExportRoute, RouteLostError } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { candidatePorts, type ExportPlace, socketPlace, tcpPlace } from "./route.ts";

/**
 * For scripts on a host: `serves FILE` sets `pid` to the server that wrote its id to FILE, and fails when it has ended. The
 * file stays behind, and the id may be that of any other process by then.
 */
export const serves = `serves() { pid=$(cat "$1" 2>/dev/null) && grep -aqsF -- "--pid-file=$1" "/proc/$pid/cmdline"; }
`;

/**
 * `$1` key, `$2` target, `$3` address or nothing, `$4` ports to try, `$5` folder of the host's TLS credentials or
 * nothing, `$6` anything to go past the page cache, which not every file system lets; then come options and the image.
 * Prints the port. Without `--persistent` the server ends with its last
 * client, so that nothing stays behind when we die. One that is there already is taken as it is.
 */
const serve = `${serves}command -v qemu-nbd >/dev/null 2>&1 || { echo "the host lacks qemu-nbd: install qemu-utils" >&2; exit 3; }
umask 077; run="/run/godwit-$1"; target=$2 address=$3 ports=$4 tls=$5 direct=$6; shift 6
mkdir -p "$run"; socket="$run/$target.sock"
if serves "$socket.pid"; then cat "$run/$target.port" 2>/dev/null; exit 0; fi
for path; do :; done
if [ -n "$direct" ] && dd if="$path" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then set -- --cache=none "$@"; fi
set -- --fork --shared=8 --export-name="$target" --pid-file="$socket.pid" "$@"
[ -n "$address" ] || exec qemu-nbd --socket="$socket" "$@"
if [ -n "$tls" ]; then set -- --object "tls-creds-x509,id=tls0,endpoint=server,dir=$tls,verify-peer=yes" --tls-creds=tls0 "$@"; fi
for port in $ports; do
  if said=$(qemu-nbd --bind="$address" --port="$port" "$@" 2>&1); then echo "$port" | tee "$run/$target.port"; exit 0; fi
  case $said in *" in use"*) ;; *) echo "$said" >&2; exit 4;; esac
done
echo "none of the ports $ports is free" >&2; exit 4`;

export interface ServedImage {
  /** Names the folder below `/run` that the server's files are in. */
  readonly key: string;
  readonly target: string;
  readonly path: string;
  readonly format: string;
  readonly options: readonly string[];
  /** Past the page cache, where its file system can. */
  readonly direct?: boolean;
}

/** Exports an image that no VM uses, through `qemu-nbd` on its host. Throws `RouteLostError` where another route may work. */
export async function serveImage(shell: HostShell, image: ServedImage, route: ExportRoute, signal: AbortSignal): Promise<ExportPlace> {
  const { key, target, path, format, options, direct = false } = image;
  const where = route.kind === "ssh" ? ["", "", ""] : [route.address, candidatePorts(route).join(" "), route.tls?.hostDirectory ?? ""];
  const argv = ["/bin/sh", "-c", serve, "sh", key, target, ...where, direct ? "direct" : "", ...options, `--format=${format}`, path];
  const { code, stdout, stderr } = await shell.run(argv, { signal });
  if (code !== 0) {
    const text = `the image ${path} cannot be exported by its host: ${stderr.trim()}`;
    throw code === 4 && route.kind !== "ssh" ? new RouteLostError(text) : new EngineError("hypervisor", text, { path });
  }
  return route.kind === "ssh" ? socketPlace(shell, `/run/godwit-${key}/${target}.sock`) : tcpPlace(route, Number(stdout.trim()));
}
