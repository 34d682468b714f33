import { globSync, readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { type Environment, expandHome } from "../uri/environment.ts";
import { SshError } from "./errors.ts";
import { matchesPatterns } from "./known-hosts.ts";

/** What ssh_config says about one host: the subset that we follow. Paths are absolute, tokens expanded later. */
export interface HostConfig {
  readonly hostName?: string;
  readonly hostKeyAlias?: string;
  readonly user?: string;
  readonly port?: string;
  readonly identityFiles: readonly string[];
  readonly identitiesOnly: boolean;
  readonly identityAgent?: string;
  readonly proxyJump?: string;
  /** Set when a ProxyCommand applies: we run none. */
  readonly proxyCommand?: string;
  readonly userKnownHostsFiles?: readonly string[];
  readonly globalKnownHostsFiles?: readonly string[];
}

interface Directive {
  readonly keyword: string;
  readonly args: readonly string[];
  readonly where: string;
}

const MAX_INCLUDE_DEPTH = 16;

/** Reads the files that exist, in order; the first value of a keyword wins, as in ssh(1). */
export function readHostConfig(files: readonly string[], host: string, env: Environment): HostConfig {
  const first = new Map<string, readonly string[]>();
  const identityFiles: string[] = [];
  for (const { keyword, args } of files.flatMap((file) => activeDirectives(readDirectives(file, env, 0), host))) {
    if (keyword === "identityfile") identityFiles.push(args[0]!);
    // ProxyJump and ProxyCommand exclude each other: whichever comes first.
    else if (keyword === "proxycommand" && first.has("proxyjump")) continue;
    else if (keyword === "proxyjump" && first.has("proxycommand")) continue;
    else if (!first.has(keyword)) first.set(keyword, args);
  }
  const value = (keyword: string): string | undefined => first.get(keyword)?.[0];
  const unlessNone = (text: string | undefined): string | undefined => (text?.toLowerCase() === "none" ? undefined : text);
  return withoutUndefined({
    hostName: value("hostname"),
    hostKeyAlias: value("hostkeyalias"),
    user: value("user"),
    port: value("port"),
    identityFiles: identityFiles.filter((file) => file.toLowerCase() !== "none"),
    identitiesOnly: value("identitiesonly")?.toLowerCase() === "yes",
    identityAgent: value("identityagent"),
    proxyJump: unlessNone(value("proxyjump")),
    proxyCommand: unlessNone(first.get("proxycommand")?.join(" ")),
    userKnownHostsFiles: first.get("userknownhostsfile"),
    globalKnownHostsFiles: first.get("globalknownhostsfile"),
  });
}

function withoutUndefined<T extends object>(record: T): { [K in keyof T as T[K] extends undefined ? never : K]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as ReturnType<typeof withoutUndefined<T>>;
}

/** The directives outside any block, and those of the blocks that apply. */
function activeDirectives(directives: readonly Directive[], host: string): readonly Directive[] {
  let active = true;
  return directives.filter(({ keyword, args }) => {
    if (keyword === "host") active = matchesPatterns(args, host);
    else if (keyword === "match") active = matchApplies(args, host);
    return active && keyword !== "host" && keyword !== "match";
  });
}

/** `Match all`, `Match host …` and `Match originalhost …`; a block with any other condition does not apply. */
function matchApplies(args: readonly string[], host: string): boolean {
  const [criterion = "", patterns = "", ...more] = args;
  if (criterion.toLowerCase() === "all") return args.length === 1;
  return more.length === 0 && ["host", "originalhost"].includes(criterion.toLowerCase()) && matchesPatterns(patterns.split(","), host);
}

function readDirectives(file: string, env: Environment, depth: number): readonly Directive[] {
  if (depth > MAX_INCLUDE_DEPTH)
    throw new SshError("config", `${file}: more than ${MAX_INCLUDE_DEPTH} files include each other; break the circle`);
  return parseDirectives(readIfThere(file), file).flatMap((directive) =>
    directive.keyword === "include" ? directive.args.flatMap((pattern) => included(pattern, file, env, depth)) : [directive],
  );
}

function included(pattern: string, from: string, env: Environment, depth: number): readonly Directive[] {
  const home = expandHome(pattern, env);
  const base = from.startsWith(`${env.home}/`) ? join(env.home, ".ssh") : "/etc/ssh";
  return globSync(isAbsolute(home) ? home : join(base, home))
    .toSorted()
    .flatMap((file) => readDirectives(file, env, depth + 1));
}

/** `keyword args` or `keyword=args`, with "quoted" arguments and # comments. */
function parseDirectives(text: string, file: string): readonly Directive[] {
  return text.split("\n").flatMap((raw, index) => {
    const where = `${file}:${index + 1}`;
    const match = /^\s*([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+)(\S.*)$/.exec(raw.trimEnd());
    if (!match) return [];
    const args = words(match[2]!, where);
    return args.length > 0 ? [{ keyword: match[1]!.toLowerCase(), args, where }] : [];
  });
}

function words(text: string, where: string): readonly string[] {
  const found = [...text.matchAll(/"([^"]*)"|([^\s"]+)|(")/g)];
  if (found.some((match) => match[3] !== undefined)) throw new SshError("config", `${where}: a quote is not closed`);
  const all = found.map((match) => match[1] ?? match[2]!);
  const comment = all.findIndex((word, index) => word.startsWith("#") && found[index]![1] === undefined);
  return comment < 0 ? all : all.slice(0, comment);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw new SshError("config", `${file} cannot be read; repair its permissions or pass other config files`, {}, { cause: error });
  }
}
