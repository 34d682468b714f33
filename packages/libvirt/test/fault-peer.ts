import { duplexPair, type Duplex } from "node:stream";
import { once } from "node:events";
import { BoundedQueue } from "@godwit/core";
import { connectOver, type ConnectOptions, type Connection, type Transport } from "../src/index.ts";
import { remoteProcedures, remoteProgram } from "../src/protocol/generated/remote.ts";
import { ErrorReply } from "../src/protocol/generated/types.ts";
import { encodeFrame, type Frame, FrameReader, type Header, MessageStatus, MessageType } from "../src/rpc/frame.ts";
import type { Codec } from "../src/xdr/codec.ts";
import { type Encoder, encode } from "../src/xdr/encoder.ts";

/**
 * The daemon's side of a connection, to do what a real one does not do on command. It answers the opening sequence and
 * CONNECT_CLOSE; every other message waits in `next()` for the test.
 */
export class FaultPeer {
  readonly stream: Duplex;
  readonly transport: Transport;
  readonly #reader = new FrameReader();
  readonly #frames = new BoundedQueue<Frame>(100_000);
  readonly #next = this.#frames[Symbol.asyncIterator]();

  constructor() {
    const [ours, theirs] = duplexPair();
    this.stream = theirs;
    // A real socket's peer sees an error or end when the other side is destroyed.
    const close = async (): Promise<void> => {
      if (!ours.destroyed) ours.destroy();
      if (!ours.closed) await once(ours, "close");
      this.#frames.end();
    };
    this.transport = { stream: ours, description: "fault peer", secure: true, close, [Symbol.asyncDispose]: close };
    theirs.on("data", (chunk: Buffer) => this.#receive(Buffer.from(chunk)));
    theirs.on("error", () => undefined);
  }

  /** The next message that the opening sequence does not answer. */
  async next(): Promise<Frame> {
    const { value } = await this.#next.next();
    if (value?.kind !== "item") throw new Error("the client sent nothing more");
    return { header: value.item.header, payload: Buffer.from(value.item.payload) };
  }

  async nextOf(procedure: { readonly number: number }): Promise<Frame> {
    for (;;) {
      const frame = await this.next();
      if (frame.header.procedure === procedure.number) return frame;
    }
  }

  send(header: Header, write: (to: Encoder) => void = () => undefined): void {
    this.stream.write(encodeFrame(header, write));
  }

  reply<Result>({ header }: Pick<Frame, "header">, procedure: { readonly result: Codec<Result> }, result: Result): void {
    this.send({ ...header, type: MessageType.reply }, (to) => procedure.result.write(to, result));
  }

  error({ header }: Pick<Frame, "header">, message: string, type: number = MessageType.reply): void {
    const nothing = { dom: null, net: null, str1: null, str2: null, str3: null, int1: 0, int2: 0 };
    this.send({ ...header, type, status: MessageStatus.error }, (to) =>
      ErrorReply.write(to, { code: 1, domain: 10, level: 2, message, ...nothing }),
    );
  }

  /** Data of a stream; none of it is the end of the data. */
  data({ header }: Pick<Frame, "header">, bytes: Uint8Array): void {
    this.send({ ...header, type: MessageType.stream, status: MessageStatus.continue }, (to) => to.bytesFixed(bytes, bytes.length));
  }

  event(procedure: number, write: (to: Encoder) => void): void {
    this.send({ program: remoteProgram.number, version: 1, procedure, type: MessageType.message, serial: 0, status: 0 }, write);
  }

  #receive(chunk: Buffer): void {
    this.#reader.push(chunk);
    for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) {
      if (!this.#opening(frame)) this.#frames.push(frame);
    }
  }

  #opening(frame: Frame): boolean {
    const { authList, connectClose, connectOpen, connectRegisterCloseCallback, connectSupportsFeature } = remoteProcedures;
    const { procedure, program } = frame.header;
    if (program !== remoteProgram.number) return false;
    if (procedure === authList.number) this.reply(frame, authList, []);
    else if (procedure === connectSupportsFeature.number) this.reply(frame, connectSupportsFeature, 1);
    else if ([connectOpen, connectRegisterCloseCallback, connectClose].some(({ number }) => number === procedure)) {
      this.reply(frame, connectOpen, undefined);
    } else return false;
    return true;
  }
}

/** An open connection to a fault peer. */
export async function openFaulty(options: ConnectOptions = {}): Promise<{ peer: FaultPeer; connection: Connection }> {
  const peer = new FaultPeer();
  return { peer, connection: await connectOver(peer.transport, { driverUri: "test:///default", ...options }) };
}

/** The bytes that a codec writes, for what the peer sends piece by piece. */
export const bytesOf = encode;
