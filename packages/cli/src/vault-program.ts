import { addVaultCommands } from "./commands/vault/index.ts";
import type { ExitCode } from "./exit.ts";
import { createRoot, runProgram, type Surroundings, withGlobalOptionsEverywhere } from "./root.ts";

/** As `runCommand` of program.ts, for lines that begin with `vault`. */
export async function runCommand(args: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  const program = createRoot(surroundings);
  addVaultCommands(program, surroundings);
  return await runProgram(withGlobalOptionsEverywhere(program), args, surroundings);
}
