import { homedir, userInfo } from "node:os";

/** What local paths and defaults are derived from; a parameter, so that callers and tests own it. */
export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly userName: string;
  /** The effective user id; 0 is root, to whom libvirt gives the system daemons only. */
  readonly uid: number;
}

/** The environment of this process, read now. */
export function systemEnvironment(): Environment {
  const { username, uid } = userInfo();
  return { variables: process.env, home: homedir(), userName: username, uid: process.geteuid?.() ?? uid };
}

/** `~` and `~/…` as a shell would read them. */
export function expandHome(path: string, env: Pick<Environment, "home">): string {
  return path === "~" || path.startsWith("~/") ? env.home + path.slice(1) : path;
}
