export { type Environment, expandHome, systemEnvironment } from "./environment.ts";
export { UriError, type UriErrorKind } from "./errors.ts";
export type { ConnectionParameters, DaemonMode, KnownHostsCheck, ProxyMode, SshMethod, UriParameter } from "./parameters.ts";
export { daemonSockets, type SocketChoice } from "./sockets.ts";
export { formatUri, type LibvirtUri, parseUri, type TransportKind, type UriParts } from "./uri.ts";
