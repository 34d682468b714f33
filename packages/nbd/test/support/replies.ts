import { CHUNK, MAGIC } from "../../src/protocol/constants.ts";
import { COOKIE_HIGH } from "../../src/client/reply-reader.ts";

/** Builders of replies, right or wrong, for tests of the reader. */
export function words(...fields: readonly (readonly [bits: 16 | 32 | 64, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([bits, value]) => {
      const part = Buffer.alloc(bits / 8);
      if (bits === 64) part.writeBigUInt64BE(BigInt(value));
      else if (bits === 32) part.writeUInt32BE(value);
      else part.writeUInt16BE(value);
      return part;
    }),
  );
}

export function simpleReply(cookie: number, error: number, data: Uint8Array = new Uint8Array()): Buffer {
  return Buffer.concat([words([32, MAGIC.simpleReply], [32, error], [32, COOKIE_HIGH], [32, cookie]), data]);
}

export interface ChunkShape {
  readonly cookie: number;
  readonly type: number;
  readonly done?: boolean;
  readonly payload?: Uint8Array;
  /** To lie about the payload's length. */
  readonly length?: number;
}

export function chunk({ cookie, type, done = false, payload = new Uint8Array(), length = payload.length }: ChunkShape): Buffer {
  const header = words([32, MAGIC.structuredReply], [16, done ? 1 : 0], [16, type], [32, COOKIE_HIGH], [32, cookie], [32, length]);
  return Buffer.concat([header, payload]);
}

export function extendedChunk(
  { cookie, type, done = false, payload = new Uint8Array(), length = payload.length }: ChunkShape,
  offset: number,
): Buffer {
  const header = words(
    [32, MAGIC.extendedReply],
    [16, done ? 1 : 0],
    [16, type],
    [32, COOKIE_HIGH],
    [32, cookie],
    [64, offset],
    [64, length],
  );
  return Buffer.concat([header, payload]);
}

export const dataPayload = (offset: number, data: Uint8Array): Buffer => Buffer.concat([words([64, offset]), data]);
export const holePayload = (offset: number, length: number): Buffer => words([64, offset], [32, length]);
export const errorPayload = (errno: number, message = ""): Buffer =>
  Buffer.concat([words([32, errno], [16, Buffer.byteLength(message)]), Buffer.from(message)]);
export const statusPayload = (contextId: number, ...extents: readonly (readonly [number, number])[]): Buffer =>
  words([32, contextId], ...extents.flatMap(([length, status]) => [[32, length] as const, [32, status] as const]));
export const done = (cookie: number): Buffer => chunk({ cookie, type: CHUNK.none, done: true });
