import zlib, { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

/*
 * Node's public calls make a zstd context for each buffer, a megabyte that lives until a full collection:
 * tens of megabytes of garbage per thread, and a fifth of the speed. So a context is kept and driven through
 * the stream's native handle, as npm's own tar does. That handle is not documented: before its first use it
 * must pass a round trip against the public calls, and what it does not do as expected they do instead.
 */
interface NativeHandle {
  writeSync(flush: number, input: Uint8Array, inAt: number, inLength: number, output: Uint8Array, outAt: number, outLength: number): void;
}

interface NativeStream {
  readonly _handle: NativeHandle;
  /** Left over by the last write: room in the output, bytes of the input. */
  readonly _writeState: Uint32Array;
}

class Native {
  readonly #stream: NativeStream;
  #failed = false;

  constructor(stream: unknown) {
    this.#stream = stream as NativeStream;
    const onerror = (): void => {
      this.#failed = true;
    };
    Object.assign(this.#stream._handle, { onerror });
  }

  /** Bytes written to `output`, or -1 when that is not all there is. */
  write(flush: number, input: Uint8Array, output: Uint8Array): number {
    this.#stream._handle.writeSync(flush, input, 0, input.length, output, 0, output.length);
    const [room, left] = this.#stream._writeState;
    return this.#failed || left !== 0 || room === undefined ? -1 : output.length - room;
  }
}

/** A frame without content: a decoder takes it between frames, and nowhere else. */
const skippable = Buffer.from("502a4d1800000000", "hex");
const one = new Uint8Array(1);
const sample = Buffer.from("a godwit flies without landing, ".repeat(40));

const worst = (length: number): number => length + (length >> 7) + 512;

class Compressor {
  readonly #level: number;
  #native: Native | undefined;
  #output: Uint8Array = new Uint8Array(0);

  constructor(level: number) {
    this.#level = level;
    try {
      this.#native = new Native(zlib.createZstdCompress({ params: this.#params }));
      for (let i = 0; i < 2; i += 1) if (!zstdDecompressSync(this.compress(sample)).equals(sample)) this.#native = undefined;
    } catch {
      this.#native = undefined;
    }
  }

  /** One frame; valid until the next call. */
  compress(content: Uint8Array): Uint8Array {
    if (this.#output.length < worst(content.length)) this.#output = new Uint8Array(worst(content.length));
    const length = this.#native?.write(constants.ZSTD_e_end, content, this.#output) ?? -1;
    if (length > 0) return this.#output.subarray(0, length);
    this.#native = undefined;
    return zstdCompressSync(content, { chunkSize: worst(content.length), params: this.#params });
  }

  get #params(): Record<number, number> {
    return { [constants.ZSTD_c_compressionLevel]: this.#level };
  }
}

const compressors = new Map<number, Compressor>();

/** One zstd frame; valid until the next call on this thread. */
export function compress(content: Uint8Array, level: number): Uint8Array {
  let compressor = compressors.get(level);
  if (!compressor) compressors.set(level, (compressor = new Compressor(level)));
  return compressor.compress(content);
}

let decoder: Native | undefined;
let decoderWorks: boolean | undefined;
let scratch: Uint8Array = new Uint8Array(0);

function decodeFast(packed: Uint8Array, length: number, into: Uint8Array | undefined): Uint8Array | undefined {
  if (!into && scratch.length < length + 1) scratch = new Uint8Array(Math.max(length + 1, 260 << 10));
  // A byte more than it should be, so that more than it should be is seen.
  const output = (into ?? scratch).subarray(0, length + 1);
  decoder ??= new Native(zlib.createZstdDecompress());
  const whole =
    decoder.write(constants.ZSTD_e_continue, packed, output) === length && decoder.write(constants.ZSTD_e_continue, skippable, one) === 0;
  return whole ? output.subarray(0, length) : undefined;
}

function decoderPasses(): boolean {
  try {
    const packed = zstdCompressSync(sample);
    const unpacked = decodeFast(packed, sample.length, undefined);
    const refuses = decodeFast(packed.subarray(0, packed.length - 4), sample.length, undefined) === undefined;
    decoder = undefined;
    return unpacked !== undefined && sample.equals(unpacked) && refuses;
  } catch {
    return false;
  }
}

/**
 * Unpacks a frame that must hold exactly `length` bytes; undefined when it does not. The result is valid
 * until the next call on this thread, or mostly lies in `into`, where that has room for a byte more.
 */
export function decompress(packed: Uint8Array, length: number, into?: Uint8Array): Uint8Array | undefined {
  decoderWorks ??= decoderPasses();
  if (decoderWorks) {
    const unpacked = decodeFast(packed, length, into && into.length > length ? into : undefined);
    if (unpacked) return unpacked;
    decoder = undefined;
  }
  try {
    const content = zstdDecompressSync(packed, { maxOutputLength: Math.max(1, length), chunkSize: Math.max(64, length) });
    return content.length === length ? content : undefined;
  } catch {
    return undefined;
  }
}
