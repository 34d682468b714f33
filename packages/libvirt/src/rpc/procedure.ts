import type { Codec } from "../xdr/codec.ts";
import type { LibvirtStream } from "./stream.ts";

/** What a daemon serves under one number: "remote", "qemu". */
export interface ProgramId {
  readonly name: string;
  readonly number: number;
  readonly version: number;
}

/** A call of a program. */
export interface Procedure<Args, Result> {
  readonly name: string;
  readonly number: number;
  readonly args: Codec<Args>;
  readonly result: Codec<Result>;
  /** Set when the call opens a stream: who sends, seen from here. */
  readonly stream?: "download" | "upload" | "duplex";
}

/** What a daemon sends unasked. */
export interface EventProcedure<Message> {
  readonly name: string;
  readonly number: number;
  readonly message: Codec<Message>;
}

export interface CallOptions {
  /**
   * Rejects the call with `signal.reason`. What was already sent cannot be unsent: the daemon carries it out,
   * and its answer is consumed and dropped.
   */
  readonly signal?: AbortSignal | undefined;
}

/** What the generated stubs stand on. */
export interface Caller {
  call<Args, Result>(program: ProgramId, procedure: Procedure<Args, Result>, args: Args, options?: CallOptions): Promise<Result>;
  /** As `call`, for a procedure that opens a stream. */
  open<Args, Result>(
    program: ProgramId,
    procedure: Procedure<Args, Result>,
    args: Args,
    options?: CallOptions,
  ): Promise<LibvirtStream<Result>>;
}
