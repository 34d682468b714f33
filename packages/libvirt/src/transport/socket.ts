import { connect, type NetConnectOpts, type Socket } from "node:net";
import { abortReason } from "@godwit/core";
import { LibvirtError } from "../errors.ts";
import type { Transport } from "./transport.ts";

/** Resolves to a connected socket. Rejects with `connection-lost` naming `description`, or with `signal.reason` on abort. */
export function connectSocket(to: NetConnectOpts, description: string, signal: AbortSignal | undefined): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const socket = connect(to);
    const onAbort = (): void => {
      socket.destroy();
      reject(abortReason(signal!));
    };
    const onError = (error: Error): void => {
      signal?.removeEventListener("abort", onAbort);
      reject(new LibvirtError("connection-lost", `${description}: cannot connect`, {}, { cause: error }));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.once("error", onError);
    socket.once("connect", () => {
      signal?.removeEventListener("abort", onAbort);
      socket.removeListener("error", onError);
      resolve(socket);
    });
  });
}

/** A transport that is nothing but a socket. */
export function socketTransport(socket: Socket, description: string, secure: boolean): Transport {
  const gone = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const close = async (): Promise<void> => {
    socket.destroy();
    await gone;
  };
  return { stream: socket, description, secure, close, [Symbol.asyncDispose]: close };
}
