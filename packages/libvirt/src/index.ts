export { type AuthSession, type Authenticator, withoutCredentials } from "./auth.ts";
export {
  connectOver,
  type ConnectOptions,
  type ConnectOverOptions,
  Connection,
  type DomainStats,
  type DomainStatsQuery,
} from "./connection.ts";
export * from "./constants/index.ts";
export { type ErrorCodeName, isLibvirtError, LibvirtError, type LibvirtErrorKind, type RemoteFailure } from "./errors.ts";
export type {
  ConnectionEvents,
  DomainEventItem,
  DomainEventName,
  MonitorEvent,
  NetworkEventItem,
  NetworkEventName,
  NodeDeviceEventItem,
  NodeDeviceEventName,
  SecretEventItem,
  SecretEventName,
  StoragePoolEventItem,
  StoragePoolEventName,
} from "./events/events.ts";
export type { EventSubscription, SubscribeOptions } from "./events/subscription.ts";
export type * from "./protocol/generated/qemu.ts";
export type * from "./protocol/generated/remote.ts";
export type * from "./protocol/generated/types.ts";
export type { KeepaliveOptions } from "./rpc/keepalive.ts";
export type { CallOptions } from "./rpc/procedure.ts";
export type { SessionOptions, SessionState } from "./rpc/session.ts";
export { LibvirtStream, type StreamChunk } from "./rpc/stream.ts";
export { openTcp, tcpPort } from "./transport/tcp.ts";
export type { Transport } from "./transport/transport.ts";
export { openUnix } from "./transport/unix.ts";
export { type TypedParamInput, type TypedParamKind, typedParams, type TypedValue } from "./typed-params.ts";
export { connect, type ConnectUriOptions } from "./connect.ts";
export * from "./sasl/index.ts";
export * from "./ssh/index.ts";
export { openTransport, type OpenTransportOptions } from "./transport/open.ts";
export type { SshTransportOptions } from "./transport/ssh.ts";
export type { TlsCredentials, TlsOptions } from "./transport/tls.ts";
export { TlsError, type TlsErrorKind } from "./transport/tls-error.ts";
export * from "./uri/index.ts";
