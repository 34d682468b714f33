import { userInfo } from "node:os";
import { join } from "node:path";

/** Where the server is when nobody says: root's in /run, others' in their runtime directory. */
export function defaultSocket(env: NodeJS.ProcessEnv): string {
  const runtime = env["XDG_RUNTIME_DIR"];
  return userInfo().uid === 0 || runtime === undefined ? "/run/godwit/godwit.sock" : join(runtime, "godwit", "godwit.sock");
}
