export { type Terminal } from "./context.ts";
export { guestHook } from "./guest-hook.ts";
export { exitCode, type ExitCode } from "./exit.ts";
export { runCommand } from "./program.ts";
export type { Surroundings } from "./root.ts";
