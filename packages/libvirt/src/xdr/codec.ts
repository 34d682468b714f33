import type { Decoder } from "./decoder.ts";
import type { Encoder } from "./encoder.ts";

/** How values of one type are put on the wire. `write` throws `invalid-argument`, `read` throws `protocol`. */
export interface Codec<T> {
  write(to: Encoder, value: T): void;
  read(from: Decoder): T;
}

function enumeration<Word extends string>(name: string, values: Readonly<Record<Word, number>>): Codec<Word> {
  const words = new Map(Object.entries<number>(values).map(([word, value]) => [value, word as Word]));
  return {
    write: (to, word) => to.i32(values[word]),
    read(from) {
      const value = from.i32();
      const word = words.get(value);
      if (word === undefined) throw from.invalid(`${name} has no value ${value}`);
      return word;
    },
  };
}

/** The codecs that lists and optionals of simple values need. */
export const xdr: {
  readonly nothing: Codec<void>;
  readonly i32: Codec<number>;
  readonly u32: Codec<number>;
  readonly u64: Codec<bigint>;
  readonly string: Codec<string>;
  readonly uuid: Codec<string>;
  readonly enumeration: typeof enumeration;
} = {
  nothing: { write: () => undefined, read: () => undefined },
  i32: { write: (to, value) => to.i32(value), read: (from) => from.i32() },
  u32: { write: (to, value) => to.u32(value), read: (from) => from.u32() },
  u64: { write: (to, value) => to.u64(value), read: (from) => from.u64() },
  string: { write: (to, value) => to.string(value), read: (from) => from.string() },
  uuid: { write: (to, value) => to.uuid(value), read: (from) => from.uuid() },
  enumeration,
};
