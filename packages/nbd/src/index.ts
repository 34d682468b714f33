export {
  connectNbd,
  NbdClient,
  type NbdConnectOptions,
  type RequestOptions,
  type WriteOptions,
  type WriteZeroesOptions,
} from "./client/client.ts";
export type { NbdExportInfo } from "./client/handshake.ts";
export { listNbdContexts, listNbdExports, nbdExportInfo, type NbdListed, type NbdQueryOptions } from "./client/query.ts";
export { type ChangeExtent, type NbdSource, type NbdSourceOptions, openNbdSink, openNbdSource } from "./client/source.ts";
export type { StatusExtent, StatusRun } from "./client/status.ts";
export { NbdError, type NbdReason } from "./error.ts";
export {
  ALLOCATION,
  CONTEXT_ALLOCATION,
  CONTEXT_DEPTH,
  CONTEXT_DIRTY_BITMAP,
  DIRTY,
  type NbdErrno,
  type ReplyMode,
} from "./protocol/constants.ts";
export { loadPskFile, loadTlsDirectory, type NbdCredentials, type NbdPsk, type NbdTlsOptions } from "./tls.ts";
export { formatAddress, formatNbdUri, type NbdAddress, type NbdDialled, type NbdTarget, parseNbdUri } from "./uri.ts";
export type { NbdContext, NbdExport, RangedSource, TrimmingSink } from "./server/export.ts";
export type { NbdServerTls } from "./server/negotiation.ts";
export { NbdServer, type NbdServeOptions, type NbdServerLimits, serveNbd } from "./server/server.ts";
export { type Overlay, openOverlay, type OverlayOptions } from "./images/overlay.ts";
export { openRawFile } from "./images/raw-file.ts";
