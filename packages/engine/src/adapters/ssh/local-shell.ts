import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { Writable } from "node:stream";
import { abortReason, toError, withDeadline } from "@godwit/core";
import { EngineError } from "../../model/errors.ts";
import type { CommandResult, HostShell } from "../../ports/shell.ts";
import { COMMAND_DEADLINE_MS, MAX_OUTPUT_BYTES, outputTooLong, tooSlow } from "./limits.ts";

/** The shell of this very machine, for hypervisors that are reached by a local socket. */
export function openLocalShell(options: { readonly deadlineMs?: number } = {}): HostShell {
  const disposed = new AbortController();
  return {
    run: (argv, { signal, stdin }) =>
      withDeadline(
        options.deadlineMs ?? COMMAND_DEADLINE_MS,
        () => tooSlow(argv),
        AbortSignal.any([signal, disposed.signal]),
        (both) => runLocally(argv, stdin ?? "", both),
      ),
    carry: (path) => Promise.resolve({ path, [Symbol.asyncDispose]: () => Promise.resolve() }),
    async openUnixSocket(path, { signal }) {
      const socket = connect(path);
      try {
        await once(socket, "connect", { signal: AbortSignal.any([disposed.signal, ...(signal ? [signal] : [])]) });
      } catch (error) {
        socket.destroy();
        signal?.throwIfAborted();
        throw new EngineError("hypervisor", `nothing answers at the socket ${path}`, { path }, { cause: error });
      }
      return socket;
    },
    [Symbol.asyncDispose]: () => {
      disposed.abort(new EngineError("host-lost", "the shell was closed"));
      return Promise.resolve();
    },
  };
}

function runLocally(argv: readonly string[], stdin: string, signal: AbortSignal): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  if (signal.aborted) return Promise.reject(abortReason(signal));
  const [command = "", ...args] = argv;
  // A group of its own, so that what the command started ends with it.
  const child = spawn(command, args, { detached: true, stdio: "pipe" });
  let failure: Error | undefined;
  child.on("error", (error) => {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      failure ??= new EngineError("host-lost", `${command} could not be started`, {}, { cause: toError(error) });
    }
    // Without file descriptors there are no pipes, and nothing that could close.
    if (!(child.stdin as Writable | undefined)) reject(failure ?? error);
  });
  if (!(child.stdin as Writable | undefined)) return promise;
  const kill = (error: Error): void => {
    failure ??= error;
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // Already gone.
    }
  };
  const onAbort = (): void => kill(abortReason(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let bytes = 0;
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_OUTPUT_BYTES) kill(outputTooLong(argv));
      else written[name].push(chunk);
    });
  }
  child.stdin.on("error", () => undefined); // It need not read what it is given.
  child.stdin.end(stdin);
  child.on("close", (code) => {
    signal.removeEventListener("abort", onAbort);
    const output = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString();
    // A shell says 127 to a command that is not there.
    const ended = code !== null && code < 0 ? 127 : (code ?? undefined);
    if (failure) reject(failure);
    else resolve({ code: ended, stdout: output(written.stdout), stderr: output(written.stderr) });
  });
  return promise;
}
