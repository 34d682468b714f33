import { Duplex } from "node:stream";
import type { Channel } from "ssh2";
import { SshError } from "./errors.ts";

/**
 * An SSH channel as an ordinary Duplex: it ends when the other side ends, and is destroyed, with the
 * reason if there is one, when the channel is gone. (ssh2's own keeps a write pending for ever then.)
 */
export class ChannelStream extends Duplex {
  readonly #channel: Channel;

  /** `ending` gives the error, if any, that the closing of the channel means. */
  constructor(channel: Channel, ending: () => Error | undefined) {
    super();
    this.#channel = channel;
    channel.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause();
    });
    channel.on("end", () => {
      if (ending() === undefined && !this.destroyed) this.push(null);
    });
    channel.on("close", () => {
      const error = ending();
      if (error) this.destroy(error);
      else if (this.readableEnded) this.destroy();
      else this.once("end", () => this.destroy());
    });
    channel.on("error", (error: Error) => this.destroy(error));
    channel.pause();
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#channel.writable) this.#channel.write(chunk, callback);
    else callback(new SshError("closed", "the other side closed the SSH channel"));
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#channel.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#channel.removeAllListeners("data");
    this.#channel.resume();
    this.#channel.close();
    callback(error);
  }
}
