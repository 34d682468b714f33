import type { ErrorContext } from "@godwit/core";
import { malformed, NbdError, type NbdReason } from "../error.ts";
import { ByteReader } from "../protocol/byte-reader.ts";
import { decodeMessage, encodeName, FieldReader, FieldWriter } from "../protocol/bytes.ts";
import { HANDSHAKE_FLAG, INFO, LIMIT, MAGIC, OPTION, REPLY, REPLY_ERROR, REPLY_ERROR_BIT } from "../protocol/constants.ts";
import type { Wire } from "./wire.ts";

export interface OptionReply {
  readonly type: number;
  readonly data: Uint8Array;
}

/** How an option ended: with all its replies, or with the server's refusal. */
export type OptionResult =
  | { readonly ok: true; readonly replies: readonly OptionReply[] }
  | { readonly ok: false; readonly type: number; readonly message: string };

/** What is known of an export from INFO, GO or EXPORT_NAME. */
export interface ExportFacts {
  readonly size: number;
  readonly flags: number;
  readonly name?: string;
  readonly description?: string;
  readonly blockSize?: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
}

/** Our side of the handshake on one connection; ends in the transmission phase or with `abort`. */
export class Negotiation {
  readonly fixed: boolean;
  readonly #wire: Wire;
  readonly #noZeroes: boolean;
  readonly #reader: ByteReader;
  readonly #context: ErrorContext;

  private constructor(wire: Wire, reader: ByteReader, flags: number, context: ErrorContext) {
    this.#wire = wire;
    this.#reader = reader;
    this.#context = context;
    this.fixed = (flags & HANDSHAKE_FLAG.fixedNewstyle) !== 0;
    this.#noZeroes = (flags & HANDSHAKE_FLAG.noZeroes) !== 0;
  }

  /** Exchanges greetings. The wire is read by us until the next `attach`. */
  static async greet(wire: Wire, context: ErrorContext): Promise<Negotiation> {
    const reader = new ByteReader(LIMIT.optionReplies);
    wire.attach(reader);
    const greeting = new FieldReader(await reader.read(18), "the server's greeting");
    const [init, style] = [new FieldReader(greeting.bytes(8), "magic"), new FieldReader(greeting.bytes(8), "magic")].map(magicOf);
    if (init !== MAGIC.init) throw malformed("this is no NBD server: it greets with something else", context);
    if (style === MAGIC.oldstyle) {
      throw new NbdError("unsupported", "the NBD server speaks only the oldstyle handshake, which is not supported", {
        reason: "refused",
        context,
      });
    }
    if (style !== MAGIC.option) throw malformed("the NBD server's greeting has an unknown style", context);
    const flags = greeting.u16() & (HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes);
    wire.send(new FieldWriter().u32(flags).build());
    return new Negotiation(wire, reader, flags, context);
  }

  /** Sends an option and collects its replies up to the final one. */
  async option(option: number, data: Uint8Array = new Uint8Array()): Promise<OptionResult> {
    this.send(option, data);
    return await this.collect(option);
  }

  /** Sends an option whose replies are collected later, in the order of sending. */
  send(option: number, data: Uint8Array): void {
    this.#wire.send(new FieldWriter().magic(MAGIC.option).u32(option).u32(data.length).bytes(data).build());
  }

  /** The replies to an option that was sent, up to the final one. */
  async collect(option: number): Promise<OptionResult> {
    const replies: OptionReply[] = [];
    for (let total = 0; ;) {
      const header = new FieldReader(await this.#reader.read(20), "an option reply");
      const magic = magicOf(new FieldReader(header.bytes(8), "magic"));
      const [of, type, length] = [header.u32(), header.u32(), header.u32()];
      total += length;
      if (magic !== MAGIC.optionReply || of !== option)
        throw malformed("the NBD server answers another option than it was asked", this.#context);
      if (length > LIMIT.option || total > LIMIT.optionReplies || replies.length >= LIMIT.optionReplyCount) {
        throw malformed("the NBD server's replies to an option are too long", this.#context);
      }
      const payload = await this.#reader.read(length);
      if (type >= REPLY_ERROR_BIT) return { ok: false, type, message: decodeMessage(payload) };
      if (type === REPLY.ack) return { ok: true, replies };
      replies.push({ type, data: payload });
    }
  }

  /** The facts of an export from INFO or GO, or why there are none. */
  async exportInfo(option: typeof OPTION.info | typeof OPTION.go, name: string): Promise<ExportFacts | (OptionResult & { ok: false })> {
    this.askInfo(option, name);
    return await this.collectInfo(option);
  }

  askInfo(option: typeof OPTION.info | typeof OPTION.go, name: string): void {
    const bytes = encodeName(name, "the export name");
    const wanted = [INFO.name, INFO.description, INFO.blockSize];
    const data = new FieldWriter().u32(bytes.length).bytes(bytes).u16(wanted.length);
    for (const info of wanted) data.u16(info);
    this.send(option, data.build());
  }

  /** What {@link askInfo} asked for. */
  async collectInfo(option: typeof OPTION.info | typeof OPTION.go): Promise<ExportFacts | (OptionResult & { ok: false })> {
    const result = await this.collect(option);
    return result.ok ? parseInfos(result.replies) : result;
  }

  /** EXPORT_NAME, for servers that know no GO: they can only hang up on us. */
  async exportName(name: string): Promise<ExportFacts> {
    this.send(OPTION.exportName, encodeName(name, "the export name"));
    const reply = new FieldReader(await this.#reader.read(this.#noZeroes ? 10 : 134), "the export");
    return { size: exactSize(reply.u64()), flags: reply.u16() };
  }

  /** Nothing may have arrived beyond what was asked for: what follows is another phase. */
  expectNothingBuffered(): void {
    if (this.#reader.buffered > 0) throw malformed("the NBD server sent data ahead of its turn", this.#context);
  }

  /** Leaves politely. */
  abort(): void {
    if (this.fixed) this.send(OPTION.abort, new Uint8Array());
    this.#wire.end();
  }

  refusal(result: OptionResult & { ok: false }, what: string): NbdError {
    const [reason, why] = refusals.get(result.type) ?? (["refused", `refused with 0x${result.type.toString(16)}`] as const);
    const detail = result.message === "" ? "" : ` (${result.message})`;
    return new NbdError("unsupported", `${what}: the NBD server ${why}${detail}`, { reason, context: this.#context });
  }
}

const refusals = new Map<number, readonly [NbdReason, string]>([
  [REPLY_ERROR.unsupported, ["refused", "does not know the option"]],
  [REPLY_ERROR.policy, ["refused", "forbids it by policy"]],
  [REPLY_ERROR.invalid, ["refused", "considers the request invalid"]],
  [REPLY_ERROR.platform, ["refused", "cannot do that on its platform"]],
  [REPLY_ERROR.tlsRequired, ["tls", "demands TLS; use nbds:// or give TLS credentials"]],
  [REPLY_ERROR.unknown, ["unknown-export", "has no such export"]],
  [REPLY_ERROR.shutdown, ["closed", "is shutting down"]],
  [REPLY_ERROR.blockSizeRequired, ["refused", "demands block sizes to be negotiated"]],
  [REPLY_ERROR.tooBig, ["refused", "considers the request too big"]],
  [REPLY_ERROR.extendedHeadersRequired, ["refused", "demands extended headers"]],
]);

function magicOf(reader: FieldReader): bigint {
  return (BigInt(reader.u32()) << 32n) | BigInt(reader.u32());
}

function exactSize(size: number): number {
  if (!Number.isSafeInteger(size)) throw new NbdError("unsupported", "the export is larger than 8 PiB", { reason: "usage" });
  return size;
}

function parseInfos(replies: readonly OptionReply[]): ExportFacts {
  let facts: Partial<ExportFacts> = {};
  for (const { type, data } of replies) {
    if (type !== REPLY.info) throw malformed(`INFO was answered with a reply of type ${type}`);
    const reader = new FieldReader(data, "information about the export");
    facts = { ...facts, ...parseInfo(reader.u16(), reader) };
  }
  const { size, flags } = facts;
  if (size === undefined || flags === undefined) throw malformed("the NBD server told nothing about the export");
  return { ...facts, size, flags };
}

function parseInfo(info: number, reader: FieldReader): Partial<ExportFacts> {
  switch (info) {
    case INFO.export: {
      const facts = { size: exactSize(reader.u64()), flags: reader.u16() };
      reader.end();
      return facts;
    }
    case INFO.name:
      return { name: reader.name(reader.left) };
    case INFO.description:
      return { description: decodeMessage(reader.rest()) };
    case INFO.blockSize: {
      const blockSize = { minimum: reader.u32(), preferred: reader.u32(), maximum: reader.u32() };
      reader.end();
      return { blockSize: checkBlockSize(blockSize) };
    }
    default:
      return {};
  }
}

function checkBlockSize(size: { minimum: number; preferred: number; maximum: number }): typeof size {
  const powerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));
  const sane = powerOfTwo(size.minimum) && size.minimum <= 1 << 16 && powerOfTwo(size.preferred) && size.preferred >= size.minimum;
  if (!sane || size.maximum < size.preferred) {
    throw malformed(`the NBD server's block sizes are impossible: ${size.minimum}, ${size.preferred}, ${size.maximum}`);
  }
  return size;
}
