import { type NetConnectOpts, connect, type Socket } from "node:net";
import { abortReason, GodwitError, withDeadline } from "@godwit/core";
import type { Transport } from "./transport.ts";

/** `missing`: no socket there; `denied`: it may not be used; `connect`: nobody answers; `timeout`. */
export type SocketErrorKind = "missing" | "denied" | "connect" | "timeout";

/** A Unix or TCP socket that could not be opened. */
export class SocketError extends GodwitError<SocketErrorKind> {
  override readonly name = "SocketError";
}

export interface OpenSocketOptions {
  readonly connectTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** The daemon's Unix socket. `secure`: the kernel knows both ends. */
export async function openUnixTransport(path: string, options: OpenSocketOptions): Promise<Transport> {
  return transportOf(await dial({ path }, `unix:${path}`, options), `unix:${path}`, true);
}

/** Plain TCP: anybody on the way reads and changes everything. */
export async function openTcpTransport(host: string, port: number, options: OpenSocketOptions): Promise<Transport> {
  const where = `tcp:${host.includes(":") ? `[${host}]` : host}:${port}`;
  return transportOf(await dial({ host, port, noDelay: true }, where, options), where, false);
}

function transportOf(socket: Socket, description: string, secure: boolean): Transport {
  const close = (): Promise<void> => closeSocket(socket);
  return { stream: socket, description, secure, close, [Symbol.asyncDispose]: close };
}

function dial(to: NetConnectOpts, where: string, { connectTimeoutMs: ms, signal }: OpenSocketOptions): Promise<Socket> {
  const late = (): SocketError => new SocketError("timeout", `${where} did not answer within ${ms} ms; check that the daemon runs`);
  return withDeadline(ms, late, signal, async (signal) => {
    signal.throwIfAborted();
    const socket = connect(to);
    const stop = (): void => void socket.destroy(abortReason(signal));
    signal.addEventListener("abort", stop, { once: true });
    // For the socket's whole life: an error before anybody reads must not end the process.
    const failed = new Promise<never>((_resolve, reject) => socket.on("error", reject));
    failed.catch(() => undefined);
    try {
      await Promise.race([failed, new Promise<void>((resolve) => socket.once("connect", resolve))]);
      return socket;
    } catch (error) {
      throw signal.aborted ? abortReason(signal) : socketError(error as NodeJS.ErrnoException, where);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  });
}

function socketError(cause: NodeJS.ErrnoException, where: string): SocketError {
  switch (cause.code ?? "") {
    case "ENOENT":
      return new SocketError(
        "missing",
        `${where} does not exist; start the libvirt daemon, or name its socket with ?socket=`,
        {},
        { cause },
      );
    case "EACCES":
    case "EPERM":
      return new SocketError("denied", `${where} may not be used by this user; run as root or join the group libvirt`, {}, { cause });
    default:
      return new SocketError("connect", `${where} is not answered; start the libvirt daemon and check the address`, {}, { cause });
  }
}

/** Resolves when the socket is gone; does not wait for a peer that may be dead. */
function closeSocket(socket: Socket): Promise<void> {
  if (socket.closed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.destroy();
  });
}
