export { type Terminal } from "./context.ts";
export { exitCode, type ExitCode } from "./exit.ts";
export { runCommand } from "./program.ts";
export type { Surroundings } from "./root.ts";
