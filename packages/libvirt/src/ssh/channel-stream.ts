import { Duplex } from "node:stream";
import type { Channel } from "ssh2";
import { SshError } from "./errors.ts";

/**
 * An SSH channel as an ordinary Duplex: it ends when the other side ends, and is destroyed, with the
 * reason if there is one, when the channel is gone. (ssh2's own keeps a write pending for ever then.)
 */
export class ChannelStream extends Duplex {
  readonly #channel: Channel;
  #closed = false;

  /**
   * `ending` gives the error, if any, that the closing of the channel means. A command's exit code comes
   * after its output: with `waitForExit` the stream ends only when it is known.
   */
  constructor(channel: Channel, ending: () => Error | undefined, waitForExit: boolean) {
    super();
    this.#channel = channel;
    channel.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause();
    });
    channel.on("end", () => {
      if (!waitForExit && !this.destroyed) this.push(null);
    });
    channel.on("close", () => {
      this.#closed = true;
      const error = ending();
      if (error || this.readableEnded) {
        this.destroy(error);
        return;
      }
      this.once("end", () => this.destroy());
      if (waitForExit && !this.destroyed) this.push(null);
    });
    channel.on("error", (error: Error) => this.destroy(error));
    channel.pause();
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#channel.writable) this.#channel.write(chunk, callback);
    else if (this.#closed) callback(new SshError("closed", "the other side closed the SSH channel"));
    // Else "close" is about to come, and it knows the reason; being destroyed ends this write.
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
