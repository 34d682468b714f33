import type { Command } from "commander";
import type { WithContext } from "./commands/command.ts";
import { completionScript } from "./completion.ts";
import { addBackupTrafficCommands } from "./commands/backup-traffic.ts";
import { addGroupCommands } from "./commands/group.ts";
import { addHostCommands } from "./commands/host.ts";
import { addJobCommands } from "./commands/job.ts";
import { addMigrationCommands } from "./commands/migration.ts";
import { addMaintenanceCommands } from "./commands/maintenance.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addProtectionCommands } from "./commands/protection.ts";
import { addRecoverCommands } from "./commands/recover.ts";
import { addPlacementCommands } from "./commands/placement.ts";
import { addStorageCommands } from "./commands/storage.ts";
import { addSystemCommands } from "./commands/system.ts";
import { addValidationCommands } from "./commands/validation.ts";
import { addVmCommands } from "./commands/vm.ts";
import { addVaultCommands } from "./commands/vault/index.ts";
import { connectServer } from "./connection.ts";
import type { Format } from "./context.ts";
import type { ExitCode } from "./exit.ts";
import { createRoot, runProgram, type Surroundings, withGlobalOptionsEverywhere } from "./root.ts";

interface GlobalFlags {
  readonly server: string;
  readonly tokenFile?: string;
  readonly output: Format;
}

export function createProgram(surroundings: Surroundings): Command {
  const { out, err, signal } = surroundings;
  const program = createRoot(surroundings);
  const withContext: WithContext = async (body) => {
    const flags = program.opts<GlobalFlags>();
    await body({ client: connectServer({ address: flags.server, tokenFile: flags.tokenFile }), format: flags.output, out, err, signal });
  };
  for (const add of [
    addHostCommands,
    addVmCommands,
    addNetworkCommands,
    addStorageCommands,
    addMigrationCommands,
    addProtectionCommands,
    addBackupTrafficCommands,
    addGroupCommands,
    addRecoverCommands,
    addMaintenanceCommands,
    addPlacementCommands,
    addValidationCommands,
    addJobCommands,
    addSystemCommands,
  ]) {
    add(program, withContext);
  }
  addVaultCommands(program, surroundings);
  program.command("server").description("run the server (godwit server --help)");
  program
    .command("completion <shell>")
    .description("print a completion script for bash, zsh or fish")
    .action((shell: string) => out.write(completionScript(program, shell)));
  return withGlobalOptionsEverywhere(program);
}

/** Runs one command line (without the program's name) and resolves to its exit code. */
export async function runCommand(args: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  return await runProgram(createProgram(surroundings), args, surroundings);
}
