import type { Environment } from "./environment.ts";
import { UriError } from "./errors.ts";
import type { LibvirtUri } from "./uri.ts";

/** Where the daemon of a URI may listen on its own machine, best first. */
export interface SocketChoice {
  readonly paths: readonly string[];
  /** The daemon of one user (`/session`), not of the system. */
  readonly session: boolean;
}

/**
 * The daemon's sockets, chosen as libvirt does (`remoteGetUNIXSocket`): with `mode=auto` the driver's own
 * daemon first, then libvirtd; the caller takes the first that exists. `/session` and the test driver
 * go to a user's daemon, but root has none. `run` is the run directory of the daemon's machine.
 */
export function daemonSockets(uri: LibvirtUri, env: Environment, { readOnly = false, run = "/run" } = {}): SocketChoice {
  const session = env.uid !== 0 && (uri.path === "/session" || (uri.driver === "test" && uri.plus !== undefined));
  const { socket, mode } = uri.connection;
  if (socket !== undefined) return { paths: [socket], session };
  if (readOnly && session)
    throw new UriError("unsupported", "path", "a session daemon has no read-only socket; connect read-write or use /system");
  const suffix = readOnly ? "sock-ro" : "sock";
  const dir = session ? userRunDirectory(env) : `${run}/libvirt`;
  const legacy = `${dir}/libvirt-${suffix}`;
  const direct = uri.driver === "remote" ? legacy : `${dir}/virt${uri.driver}d-${suffix}`;
  const paths = { direct: [direct], legacy: [legacy], auto: direct === legacy ? [legacy] : [direct, legacy] }[mode];
  return { paths, session };
}

/** GLib's rule: without XDG_RUNTIME_DIR the user's cache directory serves. */
function userRunDirectory({ variables, home }: Environment): string {
  const run = variables["XDG_RUNTIME_DIR"] || variables["XDG_CACHE_HOME"] || `${home}/.cache`;
  return `${run}/libvirt`;
}
