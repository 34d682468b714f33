import { BlockList, isIP } from "node:net";
import { homedir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type LogLevel, logLevels } from "./log.ts";

/** Wrong options or surroundings; the message is one line that says what to change. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export interface TcpAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface ServerConfig {
  readonly socket: string;
  readonly listen?: TcpAddress;
  /** Read when it is there, else made with a new token. */
  readonly tokenFile: string;
  readonly stateDir: string;
  readonly logLevel: LogLevel;
  /** How many at once; by what the machine has when absent. */
  readonly captures?: number;
  readonly recoveries?: number;
}

export type Arguments = { readonly run: ServerConfig } | { readonly print: string };

export const usage = `usage: godwit server [options]

Runs the Godwit server until SIGTERM or SIGINT. Jobs that it leaves go on when it runs again.

  --socket PATH         Unix socket (default: $XDG_RUNTIME_DIR/godwit/godwit.sock, root: /run/godwit/godwit.sock)
  --listen HOST:PORT    also listen on loopback TCP, with a token
  --token-file FILE     the token for --listen; made when missing (default: token in the state directory)
  --state-dir DIR       database and token (default: $XDG_STATE_HOME/godwit, root: /var/lib/godwit)
  --captures N          captures at once, of all hosts together (default: 2 a core, 2 to 8, each 1 GiB of the machine's memory)
  --recoveries N        recoveries at once, of all hosts together (default: 1 a core, 2 to 8, each 2 GiB of the machine's memory)
  --log-level LEVEL     ${logLevels.join(", ")} (default: info)
  --version, --help
`;

const options = {
  socket: { type: "string" },
  listen: { type: "string" },
  "token-file": { type: "string" },
  "state-dir": { type: "string" },
  captures: { type: "string" },
  recoveries: { type: "string" },
  "log-level": { type: "string", default: "info" },
  version: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

export function readArguments(args: readonly string[], env: NodeJS.ProcessEnv, version: string): Arguments {
  const { values } = parse(args);
  if (values.help) return { print: usage };
  if (values.version) return { print: `${version}\n` };
  const logLevel = logLevels.find((level) => level === values["log-level"]);
  if (!logLevel) throw new ConfigError(`--log-level must be one of ${logLevels.join(", ")}, not '${values["log-level"]}'`);
  const root = userInfo().uid === 0;
  const stateDir = resolve(
    values["state-dir"] ?? (root ? "/var/lib/godwit" : join(env["XDG_STATE_HOME"] ?? join(homedir(), ".local/state"), "godwit")),
  );
  if (values["token-file"] !== undefined && values.listen === undefined)
    throw new ConfigError("--token-file is only for --listen: the Unix socket needs no token");
  return {
    run: {
      socket: resolve(values.socket ?? defaultSocket(env, root)),
      ...(values.listen === undefined ? {} : { listen: tcpAddress(values.listen) }),
      tokenFile: resolve(values["token-file"] ?? join(stateDir, "token")),
      stateDir,
      logLevel,
      ...(values.captures === undefined ? {} : { captures: countOf("captures", values.captures) }),
      ...(values.recoveries === undefined ? {} : { recoveries: countOf("recoveries", values.recoveries) }),
    },
  };
}

function parse(args: readonly string[]): ReturnType<typeof parseArgs<{ options: typeof options }>> {
  try {
    return parseArgs({ args: [...args], options, strict: true });
  } catch (error) {
    throw new ConfigError(`${(error as Error).message.split(/[.:] (?:To specify|Use)/)[0]} (--help lists the options)`);
  }
}

function countOf(option: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 1000) return count;
  throw new ConfigError(`--${option} wants a whole number from 1 to 1000, not '${text}'`);
}

/** The same as the command's. */
function defaultSocket(env: NodeJS.ProcessEnv, root: boolean): string {
  const runtime = env["XDG_RUNTIME_DIR"];
  return root || runtime === undefined ? "/run/godwit/godwit.sock" : join(runtime, "godwit", "godwit.sock");
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

function tcpAddress(text: string): TcpAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535)
    throw new ConfigError(`--listen wants HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, not '${text}'`);
  const address = host === "localhost" ? "127.0.0.1" : host;
  const family = isIP(address);
  if (family === 0 || !loopback.check(address, family === 6 ? "ipv6" : "ipv4")) {
    throw new ConfigError(
      `--listen ${text} is refused: there is no TLS yet, so only loopback is safe (127.0.0.1 or [::1]); reach it from elsewhere through ssh -L`,
    );
  }
  return { host: address, port };
}
