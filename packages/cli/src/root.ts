import { Command, CommanderError, Option } from "commander";
import { defaultSocket } from "./address.ts";
import type { Terminal } from "./context.ts";
import { printableLines } from "./output/table.ts";
import { apiProblem, CliError, codeOfError, type ExitCode, exitCode } from "./exit.ts";

/** Where a command runs: everything that it may touch besides the server. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly out: Terminal;
  readonly err: Terminal;
  readonly signal: AbortSignal;
  readonly version: string;
}

function message(error: unknown): string {
  const lines: string[] = [];
  for (let at: unknown = error; at instanceof Error && lines.length < 6; at = at.cause) {
    if (at.message !== "" && lines.at(-1) !== at.message) lines.push(at.message);
  }
  const failed = apiProblem(error)?.checks?.filter((check) => check.verdict === "fail") ?? [];
  const remedies = failed.map((check) => `\n  ${check.id}: ${check.text}${check.remedy === undefined ? "" : `\n    → ${check.remedy}`}`);
  return `${lines.join(": ")}${remedies.join("")}`;
}

/** The command without any noun: what holds for all of them. */
export function createRoot({ env, out, err, version }: Surroundings): Command {
  return new Command("godwit")
    .description("Live-migrates virtual machines on the libvirt hosts you already have.")
    .version(version)
    .addOption(new Option("--server <address>", "the server's Unix socket or http:// URL").env("GODWIT_SERVER").default(defaultSocket(env)))
    .addOption(new Option("--token-file <path>", "file with the token, for a server over TCP").env("GODWIT_TOKEN_FILE"))
    .addOption(new Option("-o, --output <format>", "how to print").choices(["table", "json", "yaml"]).default("table"))
    .showHelpAfterError("(--help says more)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: (text) => err.write(text) });
}

/** `-o json` may stand before or after the verb: the global options are taken at every level. */
export function withGlobalOptionsEverywhere(program: Command): Command {
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
export async function runProgram(program: Command, args: readonly string[], { err }: Pick<Surroundings, "err">): Promise<ExitCode> {
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.usage;
    const code = codeOfError(error);
    const text = code === exitCode.cancelled && !(error instanceof CliError) ? "cancelled" : message(error);
    err.write(`godwit: ${printableLines(text)}\n`);
    return code;
  }
}
