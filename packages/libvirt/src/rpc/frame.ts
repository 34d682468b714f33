import { LibvirtError } from "../errors.ts";
import { Encoder } from "../xdr/encoder.ts";

/** virNetMessageType. */
export const MessageType = { call: 0, reply: 1, message: 2, stream: 3, callWithFds: 4, replyWithFds: 5, streamHole: 6 } as const;
/** virNetMessageStatus. */
export const MessageStatus = { ok: 0, error: 1, continue: 2 } as const;

/** The header of every message: six words after the length (src/rpc/virnetprotocol.x). */
export interface Header {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** One of {@link MessageType}. */
  readonly type: number;
  readonly serial: number;
  /** One of {@link MessageStatus}. */
  readonly status: number;
}

export interface Frame {
  readonly header: Header;
  /** A view of the received bytes: copy what must outlive the message. */
  readonly payload: Buffer;
}

/** Bytes of the length word, which counts itself. */
const lengthBytes = 4;
const headerBytes = 24;
/** Bytes before the payload. */
export const overhead: number = lengthBytes + headerBytes;
/** The longest message: VIR_NET_MESSAGE_MAX (32 MiB) and its length word. */
export const frameLimit: number = 33_554_432 + lengthBytes;
/** The most stream data that libvirt's own clients put in one message: VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX. */
export const streamDataLimit = 262_120;

/** One message. `write` adds the payload; what it throws passes through. */
export function encodeFrame(header: Header, write: (to: Encoder) => void): Buffer {
  const to = new Encoder(overhead);
  write(to);
  const frame = to.finish();
  if (frame.length > frameLimit) {
    throw new LibvirtError("invalid-argument", `a message of ${frame.length} bytes, at most ${frameLimit} allowed`);
  }
  writeHeader(frame, frame.length, header);
  return frame;
}

/** The length word and header of a message whose payload of `payloadBytes` follows by itself. */
export function encodeHeader(header: Header, payloadBytes: number): Buffer {
  const head = Buffer.alloc(overhead);
  writeHeader(head, overhead + payloadBytes, header);
  return head;
}

function writeHeader(into: Buffer, length: number, header: Header): void {
  into.writeUInt32BE(length, 0);
  into.writeUInt32BE(header.program, 4);
  into.writeUInt32BE(header.version, 8);
  into.writeInt32BE(header.procedure, 12);
  into.writeInt32BE(header.type, 16);
  into.writeUInt32BE(header.serial, 20);
  into.writeInt32BE(header.status, 24);
}

const types = new Set<number>(Object.values(MessageType));
const statuses = new Set<number>(Object.values(MessageStatus));

/** Cuts received bytes into messages. Holds no more than one message that is not complete. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #buffered = 0;

  /** Takes over `chunk`. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
  }

  /** Bytes that belong to no complete message yet. */
  get pending(): number {
    return this.#buffered;
  }

  /** The next whole message. Throws `LibvirtError("protocol")` as soon as a length or header is not valid. */
  next(): Frame | undefined {
    if (this.#buffered < lengthBytes) return undefined;
    const length = this.#head(lengthBytes).readUInt32BE(0);
    if (length < overhead || length > frameLimit) {
      throw new LibvirtError("protocol", `a message says it has ${length} bytes, ${overhead} to ${frameLimit} are allowed`, { length });
    }
    if (this.#buffered < length) return undefined;
    const bytes = this.#head(length);
    this.#drop(length);
    return { header: readHeader(bytes), payload: bytes.subarray(overhead, length) };
  }

  /** At least the first `length` bytes in one piece. */
  #head(length: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length >= length) return first;
    const whole = Buffer.concat(this.#chunks, this.#buffered);
    this.#chunks = [whole];
    return whole;
  }

  #drop(length: number): void {
    const first = this.#chunks[0]!;
    this.#buffered -= length;
    if (first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
  }
}

function readHeader(bytes: Buffer): Header {
  const header = {
    program: bytes.readUInt32BE(4),
    version: bytes.readUInt32BE(8),
    procedure: bytes.readInt32BE(12),
    type: bytes.readInt32BE(16),
    serial: bytes.readUInt32BE(20),
    status: bytes.readInt32BE(24),
  };
  if (!types.has(header.type)) throw new LibvirtError("protocol", `a message of the unknown type ${header.type}`, { type: header.type });
  if (!statuses.has(header.status)) {
    throw new LibvirtError("protocol", `a message with the unknown status ${header.status}`, { status: header.status });
  }
  return header;
}
