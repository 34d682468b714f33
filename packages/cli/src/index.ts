export { type Terminal } from "./context.ts";
export { exitCode, type ExitCode } from "./exit.ts";
export { runCommand, type Surroundings } from "./program.ts";
