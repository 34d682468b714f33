import type { ErrorContext } from "@godwit/core";
import { malformed, type NbdError, usage } from "../error.ts";
import { encodeName, FieldReader, FieldWriter } from "../protocol/bytes.ts";
import { LIMIT, OPTION, REPLY, REPLY_ERROR, type ReplyMode, TRANSMISSION_FLAG } from "../protocol/constants.ts";
import { clientTls, type NbdTlsOptions, tlsError } from "../tls.ts";
import { formatAddress, type NbdTarget } from "../uri.ts";
import { type ExportFacts, Negotiation, type OptionReply, type OptionResult } from "./negotiation.ts";
import type { Wire } from "./wire.ts";

/** What both sides agreed on for one connection to an export. */
export interface NbdExportInfo {
  readonly name: string;
  readonly canonicalName: string | undefined;
  readonly description: string | undefined;
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly canFlush: boolean;
  readonly canFua: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  readonly canFastZero: boolean;
  readonly canCache: boolean;
  readonly canMultiConn: boolean;
  /** Bytes. Requests are multiples of `minimum` and carry at most `maximum`. */
  readonly blockSize: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
  readonly replies: ReplyMode;
  readonly tls: boolean;
  /** The metadata contexts that can be queried, by name. */
  readonly contexts: ReadonlyMap<string, number>;
}

export interface HandshakeOptions {
  readonly target: NbdTarget;
  readonly tls: NbdTlsOptions | undefined;
  /** The best framing to ask for. */
  readonly replies: ReplyMode;
  readonly contexts: readonly string[];
}

/** Greets and, if the target or the caller wants it, switches to TLS. */
export async function greet(
  wire: Wire,
  { target, tls }: Pick<HandshakeOptions, "target" | "tls">,
): Promise<{ negotiation: Negotiation; tls: boolean }> {
  const context: ErrorContext = { server: formatAddress(target.address), export: target.exportName };
  const negotiation = await Negotiation.greet(wire, context);
  if (!tls) return { negotiation, tls: false };
  if (!negotiation.fixed) throw tlsError("the NBD server's handshake is too old for TLS");
  const result = await negotiation.option(OPTION.startTls);
  // Once TLS was asked for, going on without it would let anyone on the path strip it (proto.md, "downgrade attacks").
  if (!result.ok) throw negotiation.refusal(result, "cannot switch to TLS");
  // Plain text slipped in before the TLS handshake must not be taken for the server's words within TLS.
  negotiation.expectNothingBuffered();
  await wire.startTls(clientTls(target, tls));
  return { negotiation, tls: true };
}

/** From greeting to the transmission phase. */
export async function handshake(wire: Wire, options: HandshakeOptions): Promise<NbdExportInfo> {
  const { negotiation, tls } = await greet(wire, options);
  const { exportName } = options.target;
  if (!negotiation.fixed)
    return describe(exportName, await negotiation.exportName(exportName), { replies: "simple", tls, contexts: new Map() });
  const replies = await agreeOnReplies(negotiation, options.replies);
  const wanted = replies === "simple" ? [] : options.contexts;
  // Both at once: over TCP servers that answer in small pieces (QEMU) wait for a delayed ACK of some 40 ms in each round.
  if (wanted.length > 0) negotiation.send(OPTION.setMetaContext, encodeContextQuery(exportName, wanted));
  negotiation.askInfo(OPTION.go, exportName);
  const contexts = wanted.length > 0 ? selected(await negotiation.collect(OPTION.setMetaContext)) : new Map<string, number>();
  let facts = await negotiation.collectInfo(OPTION.go);
  if ("ok" in facts) {
    const oldServer = facts.type === REPLY_ERROR.unsupported && replies !== "extended";
    if (!oldServer) throw refused(negotiation, facts, exportName);
    facts = await negotiation.exportName(exportName);
  }
  negotiation.expectNothingBuffered();
  return describe(exportName, facts, { replies, tls, contexts });
}

function refused(negotiation: Negotiation, result: { ok: false; type: number; message: string }, exportName: string): NbdError {
  const error = negotiation.refusal(result, `cannot open the export ${JSON.stringify(exportName)}`);
  negotiation.abort();
  return error;
}

async function agreeOnReplies(negotiation: Negotiation, best: ReplyMode): Promise<ReplyMode> {
  if (best === "extended" && (await negotiation.option(OPTION.extendedHeaders)).ok) return "extended";
  if (best !== "simple" && (await negotiation.option(OPTION.structuredReply)).ok) return "structured";
  return "simple";
}

function selected(result: OptionResult): Map<string, number> {
  if (!result.ok) return new Map();
  const all = result.replies.map(parseContext);
  const contexts = new Map(all.map(({ name, id }) => [name, id]));
  if (all.length > LIMIT.contexts || contexts.size !== all.length || new Set(contexts.values()).size !== all.length) {
    throw malformed("the NBD server selected metadata contexts ambiguously");
  }
  return contexts;
}

export function encodeContextQuery(exportName: string, queries: readonly string[]): Uint8Array {
  const name = encodeName(exportName, "the export name");
  const data = new FieldWriter().u32(name.length).bytes(name).u32(queries.length);
  for (const query of queries) {
    const bytes = encodeName(query, "the metadata context");
    data.u32(bytes.length).bytes(bytes);
  }
  return data.build();
}

export function parseContext({ type, data }: OptionReply): { id: number; name: string } {
  if (type !== REPLY.metaContext) throw malformed(`metadata contexts were answered with a reply of type ${type}`);
  const reader = new FieldReader(data, "a metadata context");
  const id = reader.u32();
  return { id, name: reader.name(reader.left) };
}

/** What an export offers, from what the server told and the rules for what it did not. */
export function describe(name: string, facts: ExportFacts, agreed: Pick<NbdExportInfo, "replies" | "tls" | "contexts">): NbdExportInfo {
  const has = (flag: keyof typeof TRANSMISSION_FLAG): boolean => (facts.flags & TRANSMISSION_FLAG[flag]) !== 0;
  const blockSize = facts.blockSize ?? { minimum: 1, preferred: 4096, maximum: LIMIT.payload };
  const maximum = Math.min(blockSize.maximum, LIMIT.payload);
  if (facts.size % blockSize.minimum !== 0) {
    throw usage(
      "unsupported",
      `the export's size ${facts.size} is no multiple of its minimum block size ${blockSize.minimum}, so its end cannot be reached`,
    );
  }
  return {
    name,
    canonicalName: facts.name,
    description: facts.description,
    size: facts.size,
    readOnly: has("readOnly"),
    rotational: has("rotational"),
    canFlush: has("flush"),
    canFua: has("fua"),
    canTrim: has("trim"),
    canWriteZeroes: has("writeZeroes"),
    canFastZero: has("fastZero"),
    canCache: has("cache"),
    canMultiConn: has("multiConn"),
    blockSize: { ...blockSize, maximum: maximum - (maximum % blockSize.minimum) },
    ...agreed,
  };
}
