import { closed, malformed } from "../error.ts";
import { encodeName, FieldReader, FieldWriter } from "../protocol/bytes.ts";
import { HANDSHAKE_FLAG, INFO, LIMIT, MAGIC, OPTION, REPLY, REPLY_ERROR, type ReplyMode } from "../protocol/constants.ts";
import type { NbdCredentials } from "../tls.ts";
import type { ServerChannel } from "./channel.ts";
import type { NbdContext } from "./export.ts";
import type { ServedExport } from "./served-export.ts";

/** TLS as the server wants it: `required` of everybody (FORCEDTLS), or `allowed` to whoever asks. */
export interface NbdServerTls extends NbdCredentials {
  readonly mode: "required" | "allowed";
}

/** What a client negotiated: all that the transmission phase needs to know. */
export interface Agreement {
  readonly served: ServedExport;
  readonly replies: ReplyMode;
  /** The selected metadata contexts, by id. */
  readonly contexts: ReadonlyMap<number, NbdContext>;
}

/** A client that goes on asking is not negotiating. */
const MAX_OPTIONS = 1000;

interface Option {
  readonly option: number;
  readonly data: Uint8Array;
}

/** The server's side of the handshake with one client. */
export class ServerNegotiation {
  readonly #channel: ServerChannel;
  readonly #exports: ReadonlyMap<string, ServedExport>;
  readonly #tls: NbdServerTls | undefined;
  #secure = false;
  #noZeroes = false;
  #replies: ReplyMode = "simple";
  #selected: { exportName: string; contexts: Map<number, NbdContext> } | undefined;

  constructor(channel: ServerChannel, exports: ReadonlyMap<string, ServedExport>, tls: NbdServerTls | undefined) {
    this.#channel = channel;
    this.#exports = exports;
    this.#tls = tls;
  }

  /** Runs to the transmission phase; `undefined` when the client left politely. */
  async run(): Promise<Agreement | undefined> {
    const greeting = new FieldWriter()
      .magic(MAGIC.init)
      .magic(MAGIC.option)
      .u16(HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes);
    this.#channel.send(greeting.build());
    const flags = new FieldReader(await this.#channel.reader.read(4), "the client's flags").u32();
    if ((flags & ~(HANDSHAKE_FLAG.fixedNewstyle | HANDSHAKE_FLAG.noZeroes)) !== 0) throw malformed("the client sets unknown flags");
    this.#noZeroes = (flags & HANDSHAKE_FLAG.noZeroes) !== 0;
    const fixed = (flags & HANDSHAKE_FLAG.fixedNewstyle) !== 0;
    for (let count = 0; count < MAX_OPTIONS; count += 1) {
      const option = await this.#readOption();
      if (!fixed && option.option !== OPTION.exportName) throw malformed("a client without fixed newstyle may only send EXPORT_NAME");
      if (option.option === OPTION.abort) {
        this.#reply(option, REPLY.ack);
        return undefined;
      }
      const agreement = await this.#handle(option);
      if (agreement) return agreement;
      // A client that does not read its replies gets no more of them.
      await this.#channel.sent();
    }
    throw malformed("the client sends options without end");
  }

  async #readOption(): Promise<Option> {
    const header = new FieldReader(await this.#channel.reader.read(16), "an option");
    const magic = (BigInt(header.u32()) << 32n) | BigInt(header.u32());
    if (magic !== MAGIC.option) throw malformed("the client sends no option where one is due");
    const [option, length] = [header.u32(), header.u32()];
    if (length > LIMIT.option) throw malformed(`the client sends an option of ${length} bytes`);
    return { option, data: await this.#channel.reader.read(length) };
  }

  async #handle(option: Option): Promise<Agreement | undefined> {
    if (this.#tls?.mode === "required" && !this.#secure && option.option !== OPTION.startTls) {
      if (option.option === OPTION.exportName) throw closed("a client wanted an export without TLS, which is required");
      return this.#refuse(option, REPLY_ERROR.tlsRequired, "this server requires TLS");
    }
    switch (option.option) {
      case OPTION.exportName:
        return this.#exportName(option);
      case OPTION.list:
        return this.#list(option);
      case OPTION.startTls:
        return await this.#startTls(option);
      case OPTION.info:
      case OPTION.go:
        return this.#valid(option, () => this.#info(option));
      case OPTION.structuredReply:
      case OPTION.extendedHeaders:
        return this.#agreeOnReplies(option);
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        return this.#valid(option, () => this.#metaContext(option));
      default:
        return this.#refuse(option, REPLY_ERROR.unsupported, "");
    }
  }

  /** Data that does not parse is the option's failure, not the connection's. */
  #valid<T>(option: Option, handle: () => T): T | undefined {
    try {
      return handle();
    } catch (error) {
      return this.#refuse(option, REPLY_ERROR.invalid, (error as Error).message);
    }
  }

  #exportName({ data }: Option): Agreement {
    const served = this.#exports.get(new FieldReader(data, "the export name").name(data.length));
    if (!served || this.#replies === "extended") throw closed("a client wanted an export that there is not");
    const reply = new FieldWriter().u64(served.size).u16(served.flags(this.#replies !== "simple"));
    this.#channel.send((this.#noZeroes ? reply : reply.bytes(new Uint8Array(124))).build());
    return this.#agreement(served);
  }

  #list(option: Option): undefined {
    if (option.data.length > 0) return this.#refuse(option, REPLY_ERROR.invalid, "LIST has no data");
    for (const served of this.#exports.values()) {
      const name = encodeName(served.name, "the export name");
      this.#reply(option, REPLY.server, new FieldWriter().u32(name.length).bytes(name).bytes(Buffer.from(served.description)).build());
    }
    return this.#reply(option, REPLY.ack);
  }

  async #startTls(option: Option): Promise<undefined> {
    if (!this.#tls) return this.#refuse(option, REPLY_ERROR.policy, "this server has no TLS");
    if (this.#secure || option.data.length > 0)
      return this.#refuse(option, REPLY_ERROR.invalid, "TLS is on already, or the option has data");
    this.#reply(option, REPLY.ack);
    await this.#channel.startTls(this.#tls);
    this.#secure = true;
    // Nothing that was agreed on in plain text holds (proto.md, NBD_OPT_STARTTLS).
    this.#replies = "simple";
    this.#selected = undefined;
    return undefined;
  }

  #agreeOnReplies(option: Option): undefined {
    if (option.data.length > 0) return this.#refuse(option, REPLY_ERROR.invalid, "the option has no data");
    if (option.option === OPTION.structuredReply && this.#replies === "extended") {
      return this.#refuse(option, REPLY_ERROR.extendedHeadersRequired, "extended headers are on already");
    }
    this.#replies = option.option === OPTION.extendedHeaders ? "extended" : "structured";
    return this.#reply(option, REPLY.ack);
  }

  #info(option: Option): Agreement | undefined {
    const reader = new FieldReader(option.data, "the export name");
    const served = this.#exports.get(reader.name(reader.u32()));
    const wanted = Array.from({ length: reader.u16() }, () => reader.u16());
    reader.end();
    if (!served) return this.#refuse(option, REPLY_ERROR.unknown, "there is no such export");
    const { minimum, preferred, maximum } = served.blockSize;
    const info = (type: number): FieldWriter => new FieldWriter().u16(type);
    const send = (fields: FieldWriter): void => this.#reply(option, REPLY.info, fields.build());
    send(
      info(INFO.export)
        .u64(served.size)
        .u16(served.flags(this.#replies !== "simple")),
    );
    if (wanted.includes(INFO.name)) send(info(INFO.name).bytes(Buffer.from(served.name)));
    if (wanted.includes(INFO.description) && served.description !== "") send(info(INFO.description).bytes(Buffer.from(served.description)));
    send(info(INFO.blockSize).u32(minimum).u32(preferred).u32(maximum));
    if (minimum > 1 && !wanted.includes(INFO.blockSize))
      return this.#refuse(option, REPLY_ERROR.blockSizeRequired, "block sizes must be asked for");
    this.#reply(option, REPLY.ack);
    return option.option === OPTION.go ? this.#agreement(served) : undefined;
  }

  #metaContext(option: Option): undefined {
    const setting = option.option === OPTION.setMetaContext;
    if (setting) this.#selected = undefined;
    if (this.#replies === "simple") return this.#refuse(option, REPLY_ERROR.invalid, "structured replies must be agreed on first");
    const reader = new FieldReader(option.data, "a metadata context");
    const exportName = reader.name(reader.u32());
    const count = reader.u32();
    const queries: string[] = [];
    for (let index = 0; index < count; index += 1) {
      if (index >= LIMIT.contexts) return this.#refuse(option, REPLY_ERROR.tooBig, `more than ${LIMIT.contexts} queries`);
      queries.push(reader.name(reader.u32()));
    }
    reader.end();
    const served = this.#exports.get(exportName);
    if (!served) return this.#refuse(option, REPLY_ERROR.unknown, "there is no such export");
    const matches = (name: string): boolean =>
      setting
        ? queries.includes(name)
        : queries.length === 0 || queries.some((query) => query === name || (query.endsWith(":") && name.startsWith(query)));
    const contexts = new Map([...served.contexts.entries()].filter(([, context]) => matches(context.name)));
    for (const [id, { name }] of contexts) {
      this.#reply(
        option,
        REPLY.metaContext,
        new FieldWriter()
          .u32(setting ? id : 0)
          .bytes(encodeName(name, "the metadata context"))
          .build(),
      );
    }
    if (setting) this.#selected = { exportName, contexts };
    return this.#reply(option, REPLY.ack);
  }

  #agreement(served: ServedExport): Agreement {
    const contexts = this.#selected?.exportName === served.name ? this.#selected.contexts : new Map<number, NbdContext>();
    return { served, replies: this.#replies, contexts };
  }

  #refuse(option: Option, error: number, message: string): undefined {
    this.#reply(option, error, Buffer.from(message.slice(0, 256)));
  }

  #reply({ option }: Option, type: number, data: Uint8Array = new Uint8Array()): undefined {
    this.#channel.send(new FieldWriter().magic(MAGIC.optionReply).u32(option).u32(type).u32(data.length).bytes(data).build());
  }
}
