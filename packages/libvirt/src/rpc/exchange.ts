import { raceAbort, toError } from "@godwit/core";
import { LibvirtError, remoteError } from "../errors.ts";
import { ErrorReply } from "../protocol/generated/types.ts";
import { decode } from "../xdr/decoder.ts";
import { type Frame, MessageStatus } from "./frame.ts";

/**
 * A call and its answer. Aborting it marks it abandoned: the answer is still consumed when it comes, and a value that
 * must not be forgotten (a stream that the daemon opened) goes to `discard`.
 */
export class Exchange<Value> {
  readonly #procedure: string;
  readonly #accept: (frame: Frame) => Value;
  readonly #discard: (value: Value) => void;
  readonly #answer: PromiseWithResolvers<Value> = Promise.withResolvers();

  constructor(procedure: string, accept: (frame: Frame) => Value, discard: (value: Value) => void) {
    this.#procedure = procedure;
    this.#accept = accept;
    this.#discard = discard;
  }

  /** Waits for the answer, or abandons it when `signal` fires. */
  async result(signal: AbortSignal | undefined): Promise<Value> {
    try {
      return await raceAbort(this.#answer.promise, signal);
    } catch (error) {
      this.#answer.promise.then(this.#discard, () => undefined);
      throw error;
    }
  }

  /**
   * Takes the answer. A result that is not of its type fails this call alone: the frames are still in step, and a guest with
   * odd bytes in a name must not take everybody's connection down.
   */
  answer(frame: Frame): void {
    try {
      if (frame.header.status === MessageStatus.error) {
        this.#answer.reject(remoteError(this.#procedure, decode(ErrorReply, frame.payload)));
      } else {
        this.#answer.resolve(this.#accept(frame));
      }
    } catch (error) {
      const message = `${this.#procedure}: the answer could not be understood`;
      this.#answer.reject(new LibvirtError("protocol", message, { procedure: this.#procedure }, { cause: toError(error) }));
    }
  }

  /** No answer will come. */
  fail(reason: LibvirtError): void {
    const message = `${this.#procedure}: no answer, whether it was carried out is unknown`;
    this.#answer.reject(new LibvirtError(reason.kind, message, { procedure: this.#procedure }, { cause: reason }));
  }
}
