/**
 * The numbers of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md, and its extension-ext-header branch).
 * What we do with them is in docs/protocols/nbd.md.
 */

export const NBD_PORT = 10_809;

export const MAGIC = {
  init: 0x4e42444d41474943n,
  option: 0x49484156454f5054n,
  oldstyle: 0x00420281861253n,
  optionReply: 0x3e889045565a9n,
  request: 0x25609513,
  extendedRequest: 0x21e41c71,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
  extendedReply: 0x6e8a278c,
} as const;

export const HANDSHAKE_FLAG = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

export const REPLY = { ack: 1, server: 2, info: 3, metaContext: 4 } as const;

/** Set in every option reply that is an error. */
export const REPLY_ERROR_BIT = 0x80000000;

export const REPLY_ERROR = {
  unsupported: 0x80000001,
  policy: 0x80000002,
  invalid: 0x80000003,
  platform: 0x80000004,
  tlsRequired: 0x80000005,
  unknown: 0x80000006,
  shutdown: 0x80000007,
  blockSizeRequired: 0x80000008,
  tooBig: 0x80000009,
  extendedHeadersRequired: 0x8000000a,
} as const;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const TRANSMISSION_FLAG = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  flush: 1 << 2,
  fua: 1 << 3,
  rotational: 1 << 4,
  trim: 1 << 5,
  writeZeroes: 1 << 6,
  dontFragment: 1 << 7,
  multiConn: 1 << 8,
  cache: 1 << 10,
  fastZero: 1 << 11,
} as const;

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;
export type CommandName = keyof typeof COMMAND;

export const COMMAND_FLAG = { fua: 1, noHole: 2, dontFragment: 4, reqOne: 8, fastZero: 16, payloadLength: 32 } as const;

export const CHUNK_FLAG_DONE = 1;
export const CHUNK_ERROR_BIT = 0x8000;
export const CHUNK = { none: 0, data: 1, hole: 2, blockStatus: 5, blockStatusExt: 6, error: 0x8001, errorOffset: 0x8002 } as const;

/** Bits of a `base:allocation` status. */
export const ALLOCATION = { hole: 1, zero: 2 } as const;
/** The bit of a `qemu:dirty-bitmap:NAME` status. */
export const DIRTY = 1;

export const CONTEXT_ALLOCATION = "base:allocation";
export const CONTEXT_DEPTH = "qemu:allocation-depth";
export const CONTEXT_DIRTY_BITMAP = "qemu:dirty-bitmap:";

const ERRNO = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type NbdErrno = keyof typeof ERRNO;

const errnoNames = new Map<number, NbdErrno>(Object.entries(ERRNO).map(([name, value]) => [value, name as NbdErrno]));

/** The name of an error number; an unexpected one counts as EINVAL, as the protocol asks. */
export function errnoName(value: number): NbdErrno {
  return errnoNames.get(value) ?? "EINVAL";
}

export function errnoValue(name: NbdErrno): number {
  return ERRNO[name];
}

/** How much of anything a peer may make us hold. Checked before a byte is allocated. */
export const LIMIT = {
  /** Bytes of a string (name, context, message): proto.md, "Conventions". */
  string: 4096,
  /** Bytes of one option or of one option reply. */
  option: 64 << 10,
  /** Bytes and count of all replies to one option (a long list of exports). */
  optionReplies: 4 << 20,
  optionReplyCount: 10_000,
  /** Bytes of a request's payload when nothing else was negotiated: proto.md, "Size constraints". */
  payload: 32 << 20,
  /** Extents in one block status chunk. */
  statusExtents: 1 << 20,
  /** Bytes of an error chunk. */
  errorChunk: 8 << 10,
  /** Disjoint pieces of one read reply: more is a server that wastes our time. */
  readFragments: 4096,
  /** Metadata contexts selected on one connection. */
  contexts: 64,
} as const;

export const REQUEST_LENGTH = 28;
export const EXTENDED_HEADER_LENGTH = 32;
export const SIMPLE_REPLY_LENGTH = 16;
export const STRUCTURED_REPLY_LENGTH = 20;

/** How replies are framed on a connection. */
export type ReplyMode = "simple" | "structured" | "extended";
