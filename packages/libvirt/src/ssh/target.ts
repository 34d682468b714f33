import { join } from "node:path";
import { type Environment, expandHome, systemEnvironment, type SshMethod } from "../uri/index.ts";
import { type HostConfig, readHostConfig } from "./config-file.ts";
import { SshError } from "./errors.ts";

/**
 * - `strict`: a host key that known_hosts does not vouch for is an error
 * - `accept-new`: unknown keys are accepted and appended to the first known_hosts file; changed ones are an error
 * - `ignore`: any key; anybody on the way can take the host's place
 */
export type HostKeyPolicy = "strict" | "accept-new" | "ignore";

export interface SshKeepalive {
  readonly intervalMs: number;
  /** How many probes may stay unanswered; a dead link is noticed within about `intervalMs × (count + 1)`. */
  readonly count: number;
}

/** Where and how to open a session. What is left out comes from ssh_config, then from OpenSSH's defaults. */
export interface SshOptions {
  /** A name, an address, or a `Host` of ssh_config. */
  readonly host: string;
  readonly port?: number | undefined;
  readonly user?: string | undefined;
  /** In this order: default agent, then key files. */
  readonly methods?: readonly SshMethod[] | undefined;
  /** Private keys to offer instead of the configured or default ones; they must be readable. */
  readonly keyFiles?: readonly string[] | undefined;
  /** For encrypted private keys. */
  readonly passphrase?: string | undefined;
  readonly password?: string | undefined;
  /** ssh-agent's socket; false: none. Default: IdentityAgent, then SSH_AUTH_SOCK. */
  readonly agentSocket?: string | false | undefined;
  /** Instead of the configured or default files. */
  readonly knownHostsFiles?: readonly string[] | undefined;
  /** `SHA256:…` fingerprints: exactly these host keys are accepted, and known_hosts is not read. */
  readonly hostKeys?: readonly string[] | undefined;
  readonly hostKeyPolicy?: HostKeyPolicy | undefined;
  /** Instead of ~/.ssh/config and /etc/ssh/ssh_config; false: none. */
  readonly configFiles?: readonly string[] | false | undefined;
  /** `[user@]host[:port],…` to go through, instead of ProxyJump; false: none. */
  readonly jump?: string | false | undefined;
  /** Default: every 10 s, 3 unanswered. */
  readonly keepalive?: SshKeepalive | undefined;
  /** For the whole way to an authenticated session; default 30 s. */
  readonly connectTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly env?: Environment | undefined;
}

/** {@link SshOptions} with nothing left open. */
export interface SshTarget {
  /** As given: for messages. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The name under which known_hosts knows the host. */
  readonly knownAs: string;
  readonly methods: readonly SshMethod[];
  readonly keyFiles: readonly KeyFile[];
  readonly agentSocket: string | undefined;
  /** The agent offers only the keys of `keyFiles`. */
  readonly identitiesOnly: boolean;
  readonly knownHostsFiles: readonly string[];
  readonly hostKeys: readonly string[] | undefined;
  readonly hostKeyPolicy: HostKeyPolicy;
  readonly jump: string | undefined;
  readonly keepalive: SshKeepalive;
}

export interface KeyFile {
  readonly path: string;
  /** Named by somebody, so that its absence is an error and not just one key less. */
  readonly required: boolean;
}

const defaultKeys = ["id_rsa", "id_ecdsa", "id_ed25519"];

/** Options over ssh_config over defaults. */
export function resolveTarget(options: SshOptions): SshTarget {
  const env = options.env ?? systemEnvironment();
  const files = options.configFiles ?? [join(env.home, ".ssh/config"), "/etc/ssh/ssh_config"];
  const config: HostConfig = files === false ? { identityFiles: [], identitiesOnly: false } : readHostConfig(files, options.host, env);
  const port = options.port ?? configuredPort(config, options.host);
  const user = options.user ?? config.user ?? env.userName;
  const host = expandTokens(config.hostName ?? options.host, { h: options.host });
  const tokens = { h: host, p: String(port), r: user, u: env.userName, d: env.home, n: options.host };
  const path = (text: string): string => expandHome(expandTokens(text, tokens), env);
  if (options.jump === undefined && config.proxyCommand !== undefined) {
    throw new SshError("config", `ssh_config gives ${options.host} a ProxyCommand, which we do not run; use ProxyJump, or pass jump`, {
      host: options.host,
    });
  }
  return {
    name: options.host,
    host,
    port,
    user,
    knownAs: config.hostKeyAlias ?? host,
    methods: options.methods ?? (options.password === undefined ? ["agent", "privkey"] : ["agent", "privkey", "password"]),
    keyFiles: keyFilesOf(options, config, path, env),
    agentSocket: agentSocketOf(options, config, path, env),
    identitiesOnly: config.identitiesOnly,
    knownHostsFiles: knownHostsOf(options, config, env).map(path),
    hostKeys: options.hostKeys,
    hostKeyPolicy: options.hostKeyPolicy ?? "strict",
    jump: options.jump === false ? undefined : (options.jump ?? config.proxyJump),
    keepalive: options.keepalive ?? { intervalMs: 10_000, count: 3 },
  };
}

function keyFilesOf(options: SshOptions, config: HostConfig, path: (text: string) => string, env: Environment): readonly KeyFile[] {
  if (options.keyFiles) return options.keyFiles.map((file) => ({ path: expandHome(file, env), required: true }));
  if (config.identityFiles.length > 0) return config.identityFiles.map((file) => ({ path: path(file), required: false }));
  return defaultKeys.map((name) => ({ path: join(env.home, ".ssh", name), required: false }));
}

function agentSocketOf(options: SshOptions, config: HostConfig, path: (text: string) => string, env: Environment): string | undefined {
  if (options.agentSocket === false) return undefined;
  const socket = options.agentSocket ?? config.identityAgent ?? "SSH_AUTH_SOCK";
  if (socket.toLowerCase() === "none") return undefined;
  if (socket === "SSH_AUTH_SOCK") return env.variables["SSH_AUTH_SOCK"] || undefined;
  return socket.startsWith("$") ? env.variables[socket.replace(/^\$\{?|\}$/g, "")] : path(socket);
}

function knownHostsOf(options: SshOptions, config: HostConfig, env: Environment): readonly string[] {
  if (options.knownHostsFiles) return options.knownHostsFiles;
  const user = config.userKnownHostsFiles ?? [join(env.home, ".ssh/known_hosts"), join(env.home, ".ssh/known_hosts2")];
  const system = config.globalKnownHostsFiles ?? ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
  return [...user, ...system].filter((file) => file.toLowerCase() !== "none");
}

function configuredPort({ port }: HostConfig, host: string): number {
  const number = Number(port ?? 22);
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return number;
  throw new SshError("config", `ssh_config gives ${host} the port ${JSON.stringify(port)}; use 1 to 65535`);
}

function expandTokens(text: string, tokens: Readonly<Record<string, string>>): string {
  return text.replaceAll(/%(.)/g, (whole, token: string) => (token === "%" ? "%" : (tokens[token] ?? whole)));
}
