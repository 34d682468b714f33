import { createSecretKey } from "node:crypto";
import type { Duplex } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Client } from "ssh2";

/** Where ssh2 keeps the key of AES-GCM, which it hands to OpenSSL anew for each packet. */
const keyFields = [
  { direction: "_decipher", field: "_decipherKey" },
  { direction: "_cipher", field: "_encKey" },
] as const;

type Ciphers = Partial<Record<"_decipher" | "_cipher", Record<string, unknown>>>;

/**
 * Has the session's keys imported once rather than for every packet of 32 KiB, which costs more than decrypting it.
 * Other ciphers, and an ssh2 that keeps its keys elsewhere, stay as they are.
 */
export function importKeysOnce(client: Client): void {
  client.on("handshake", () => {
    const { _protocol: ciphers = {} } = client as unknown as { readonly _protocol?: Ciphers };
    for (const { direction, field } of keyFields) {
      const key = ciphers[direction]?.[field];
      if (Buffer.isBuffer(key)) ciphers[direction]![field] = createSecretKey(key);
    }
  });
}

/**
 * Makes a socket that ssh2 uses fit for many packets. ssh2 writes a packet's length, content and tag one by one: what
 * is written in one turn leaves in one call. And the buffers that packets come and go in are freed while they are young.
 */
export function carryMuch(socket: Duplex): void {
  const litter = new Litter();
  socket.on("data", ({ length }: Uint8Array) => litter.add(length));
  const write = socket.write.bind(socket) as (chunk: Uint8Array, ...more: unknown[]) => boolean;
  let corked = false;
  socket.write = (chunk: Uint8Array, ...more: unknown[]): boolean => {
    litter.add(chunk.length);
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(() => {
        corked = false;
        socket.uncork();
      });
    }
    return write(chunk, ...more);
  };
}

/**
 * A packet leaves two or three times its size in buffers that nobody needs any more, and what is collected counts as
 * gone only one collection later; V8's limit is 32 MiB. Bytes.
 */
const collectEvery = 2 << 20;

/**
 * V8 minds only what young objects take themselves: the buffers behind them would live until their bytes make it go
 * through the whole heap, again and again, which costs more than all that SSH does with them.
 */
class Litter {
  #bytes = 0;

  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < collectEvery) return;
    this.#bytes = 0;
    collectYoung();
  }
}

let collect: ((options: { readonly type: "minor" }) => void) | undefined;

function collectYoung(): void {
  if (!collect) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("globalThis.gc") as typeof collect;
  }
  collect?.({ type: "minor" });
}
