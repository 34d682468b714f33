import { ApiError } from "@godwit/api";
import { Command, CommanderError, Option } from "commander";
import type { WithContext } from "./commands/command.ts";
import { completionScript } from "./completion.ts";
import { addHostCommands } from "./commands/host.ts";
import { addJobCommands } from "./commands/job.ts";
import { addMigrationCommands } from "./commands/migration.ts";
import { addNetworkCommands } from "./commands/network.ts";
import { addProtectionCommands } from "./commands/protection.ts";
import { addStorageCommands } from "./commands/storage.ts";
import { addSystemCommands } from "./commands/system.ts";
import { addVmCommands } from "./commands/vm.ts";
import { connectServer, defaultSocket } from "./connection.ts";
import type { Format, Terminal } from "./context.ts";
import { CliError, codeOfError, type ExitCode, exitCode } from "./exit.ts";

/** Where a command runs: everything that it may touch besides the server. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly out: Terminal;
  readonly err: Terminal;
  readonly signal: AbortSignal;
  readonly version: string;
}

interface GlobalFlags {
  readonly server: string;
  readonly tokenFile?: string;
  readonly output: Format;
}

function message(error: unknown): string {
  const lines: string[] = [];
  for (let at: unknown = error; at instanceof Error && lines.length < 6; at = at.cause) {
    if (at.message !== "" && lines.at(-1) !== at.message) lines.push(at.message);
  }
  const checks = error instanceof ApiError ? (error.problem.checks ?? []) : [];
  const failed = checks.filter((check) => check.verdict === "fail");
  const remedies = failed.map((check) => `\n  ${check.id}: ${check.text}${check.remedy === undefined ? "" : `\n    → ${check.remedy}`}`);
  return `${lines.join(": ")}${remedies.join("")}`;
}

export function createProgram(surroundings: Surroundings): Command {
  const { env, out, err, signal, version } = surroundings;
  const program = new Command("godwit")
    .description("Live-migrates virtual machines on the libvirt hosts you already have.")
    .version(version)
    .addOption(new Option("--server <address>", "the server's Unix socket or http:// URL").env("GODWIT_SERVER").default(defaultSocket(env)))
    .addOption(new Option("--token-file <path>", "file with the token, for a server over TCP").env("GODWIT_TOKEN_FILE"))
    .addOption(new Option("-o, --output <format>", "how to print").choices(["table", "json", "yaml"]).default("table"))
    .showHelpAfterError("(--help says more)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: (text) => err.write(text) });
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
    addJobCommands,
    addSystemCommands,
  ]) {
    add(program, withContext);
  }
  program.command("server").description("run the server (godwit server --help)");
  program
    .command("completion <shell>")
    .description("print a completion script for bash, zsh or fish")
    .action((shell: string) => out.write(completionScript(program, shell)));
  return withGlobalOptionsEverywhere(program);
}

/** `-o json` may stand before or after the verb: the global options are taken at every level. */
function withGlobalOptionsEverywhere(program: Command): Command {
  const visit = (command: Command): void => {
    command.exitOverride().configureOutput(program.configureOutput()).showHelpAfterError("(--help says more)");
    for (const child of command.commands) {
      for (const option of program.options.filter((one) => one.long !== "--version")) {
        if (child.options.some((one) => one.long === option.long || (option.short !== undefined && one.short === option.short))) continue;
        const copy = new Option(option.flags, option.description).hideHelp();
        if (option.argChoices) copy.choices(option.argChoices);
        child.addOption(copy);
        child.on(`option:${option.name()}`, (value: string) => program.setOptionValue(option.attributeName(), value));
      }
      visit(child);
    }
  };
  visit(program);
  return program;
}

/** Runs one command line (without the program's name) and resolves to its exit code. */
export async function runCommand(args: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  try {
    await createProgram(surroundings).parseAsync(args, { from: "user" });
    return exitCode.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.usage;
    const code = codeOfError(error);
    const text = code === exitCode.cancelled && !(error instanceof CliError) ? "cancelled" : message(error);
    surroundings.err.write(`godwit: ${text}\n`);
    return code;
  }
}
