export type { Carrier } from "./carrier.ts";
export { SshError, type SshErrorKind } from "./errors.ts";
export type { ExecOptions, ExecResult } from "./exec.ts";
export type { HostKey } from "./host-key.ts";
export { fingerprint, type HostKeyVerdict, KnownHosts, type KnownHostsLine, parseKnownHosts } from "./known-hosts.ts";
export { fetchHostKey, openSsh } from "./on-demand.ts";
export { shellCommand, shellQuote } from "./quote.ts";
export type { SpawnOptions, SshProcess, SshSession, Waiting } from "./session.ts";
export { type HostKeyPolicy, resolveTarget, type SshKeepalive, type SshOptions, type SshTarget } from "./target.ts";
