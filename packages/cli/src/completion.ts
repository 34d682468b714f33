import type { Command } from "commander";
import { CliError, exitCode } from "./exit.ts";

interface Entry {
  /** The words before, such as `host add`. */
  readonly path: string;
  readonly words: readonly string[];
}

function entries(command: Command, path: readonly string[] = []): Entry[] {
  const words = [...command.commands.map((child) => child.name()), ...command.options.flatMap((option) => option.long ?? [])];
  return [{ path: path.join(" "), words }, ...command.commands.flatMap((child) => entries(child, [...path, child.name()]))];
}

function bash(all: readonly Entry[]): string {
  const cases = all.map((entry) => `    "${entry.path}") words="${entry.words.join(" ")}" ;;`).join("\n");
  return `_godwit() {
  local path="" words="" i
  for ((i = 1; i < COMP_CWORD && i < 3; i++)); do
    case "\${COMP_WORDS[i]}" in -*) break ;; esac
    path="\${path:+$path }\${COMP_WORDS[i]}"
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _godwit godwit
`;
}

function fish(all: readonly Entry[]): string {
  const lines = all.flatMap(({ path, words }) => {
    const given = path.split(" ").filter(Boolean);
    const condition =
      given.length === 0 ? "__fish_use_subcommand" : given.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
    return words.map((word) => `complete -c godwit -n '${condition}' ${word.startsWith("--") ? `-l ${word.slice(2)}` : `-f -a ${word}`}`);
  });
  return `${lines.join("\n")}\n`;
}

/** A script that completes nouns, verbs and options. Throws a usage error for other shells. */
export function completionScript(program: Command, shell: string): string {
  const all = entries(program);
  if (shell === "bash") return bash(all);
  if (shell === "zsh") return `autoload -U +X bashcompinit && bashcompinit\n${bash(all)}`;
  if (shell === "fish") return fish(all);
  throw new CliError(exitCode.usage, `no completion for '${shell}': one of bash, zsh, fish`);
}
