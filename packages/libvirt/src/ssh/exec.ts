import { withDeadline } from "@godwit/core";
import type { ClientChannel } from "ssh2";
import { SshError } from "./errors.ts";

export interface ExecOptions {
  readonly stdin?: string | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default 60 s. */
  readonly timeoutMs?: number | undefined;
  /** For both outputs together; default 1 MiB. */
  readonly maxOutputBytes?: number | undefined;
}

/** How a command ended: by itself with a code, or by a signal. */
export interface ExecResult {
  readonly code: number | null;
  /** `SIGKILL`… */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects one command's bounded output until it ends. On timeout, abort or overflow it is killed and its channel closed. */
export async function runToEnd(channel: ClientChannel, what: string, options: ExecOptions): Promise<ExecResult> {
  const { timeoutMs = 60_000, maxOutputBytes = 1 << 20, stdin } = options;
  const overdue = (): SshError =>
    new SshError("timeout", `${what}: not done after ${timeoutMs} ms; it was killed. Allow it more time`, { timeoutMs });
  try {
    return await withDeadline(timeoutMs, overdue, options.signal, (signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<ExecResult>();
      const stop = (): void => reject(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      collect(channel, { what, maxOutputBytes, resolve, reject });
      channel.end(stdin);
      return promise.finally(() => signal.removeEventListener("abort", stop));
    });
  } catch (error) {
    kill(channel);
    throw error;
  }
}

interface Collector {
  readonly what: string;
  readonly maxOutputBytes: number;
  readonly resolve: (result: ExecResult) => void;
  readonly reject: (error: Error) => void;
}

function collect(channel: ClientChannel, { what, maxOutputBytes, resolve, reject }: Collector): void {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let bytes = 0;
  let exit: Pick<ExecResult, "code" | "signal"> | undefined;
  const into = (chunks: Buffer[]) => (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxOutputBytes) chunks.push(chunk);
    else
      reject(
        new SshError("output-limit", `${what}: wrote more than ${maxOutputBytes} bytes; it was killed. Allow it more`, { maxOutputBytes }),
      );
  };
  channel.on("data", into(stdout));
  channel.stderr.on("data", into(stderr));
  channel.on("exit", (code: number | null, signal?: string) => {
    exit = { code, signal: signal ?? null };
  });
  channel.on("error", reject);
  channel.on("close", () => {
    const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString("utf8");
    if (exit) resolve({ ...exit, stdout: text(stdout), stderr: text(stderr) });
    else reject(new SshError("closed", `${what}: the connection ended before the command did`));
  });
}

/** Asks the server to kill the command; what it still sends is thrown away. */
export function kill(channel: ClientChannel): void {
  for (const stream of [channel, channel.stderr]) {
    stream.removeAllListeners("data");
    stream.resume();
  }
  // An "error" may still come; it has nobody left to tell.
  channel.on("error", () => undefined);
  if (channel.writable) channel.signal("KILL");
  channel.close();
}
