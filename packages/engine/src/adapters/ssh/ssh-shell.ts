import type { Duplex } from "node:stream";
import { anySignal, raceAbort, toError } from "@godwit/core";
import { openSsh, SshError, type SshOptions, type SshSession } from "@godwit/libvirt";
import { EngineError } from "../../model/errors.ts";
import type { CommandResult, HostShell } from "../../ports/shell.ts";
import { COMMAND_DEADLINE_MS, MAX_OUTPUT_BYTES, outputTooLong, tooSlow } from "./limits.ts";

export interface SshShellOptions {
  readonly target: SshOptions;
  readonly connectMs?: number;
  readonly deadlineMs?: number;
}

/**
 * A shell over SSH. One session serves all commands: it opens with the first, and again with the first after it
 * was lost.
 */
export function openSshShell(options: SshShellOptions): HostShell {
  return new SshShell(options);
}

class SshShell implements HostShell {
  readonly #options: SshShellOptions;
  readonly #disposed = new AbortController();
  #session: Promise<SshSession> | undefined;

  constructor(options: SshShellOptions) {
    this.#options = options;
  }

  async run(
    argv: readonly string[],
    { signal, stdin }: { readonly signal: AbortSignal; readonly stdin?: string | undefined },
  ): Promise<CommandResult> {
    const both = anySignal(signal, this.#disposed.signal);
    try {
      const session = await raceAbort(this.#open(), both);
      const { code, stdout, stderr } = await session.exec(argv, {
        signal: both,
        stdin,
        timeoutMs: this.#options.deadlineMs ?? COMMAND_DEADLINE_MS,
        maxOutputBytes: MAX_OUTPUT_BYTES,
      });
      return { code: code ?? undefined, stdout, stderr };
    } catch (error) {
      both.throwIfAborted();
      throw explain(error, argv, this.#options.target.host);
    }
  }

  async openUnixSocket(path: string, { signal }: { readonly signal?: AbortSignal | undefined }): Promise<Duplex> {
    const both = anySignal(signal, this.#disposed.signal);
    try {
      const session = await raceAbort(this.#open(), both);
      return await session.openUnixSocket(path, { signal: both });
    } catch (error) {
      both.throwIfAborted();
      if (!(error instanceof SshError) || error.kind !== "channel") throw explain(error, [path], this.#options.target.host);
      const text = `sshd of ${this.#options.target.host} did not connect to ${path}: it must allow stream-local forwarding (AllowStreamLocalForwarding)`;
      throw new EngineError("hypervisor", text, { path }, { cause: error });
    }
  }

  async carry(
    path: string,
    { signal }: { readonly signal?: AbortSignal | undefined },
  ): Promise<(AsyncDisposable & { readonly path: string }) | undefined> {
    const both = anySignal(signal, this.#disposed.signal);
    const session = await raceAbort(this.#open(), both);
    return await session.carry(path, { signal: both });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed.abort(new EngineError("host-lost", `the shell of ${this.#options.target.host} was closed`));
    const session = await this.#session?.catch(() => undefined);
    await session?.close();
  }

  /** Opening goes on when the command that began it is cancelled: the next one will want it too. */
  #open(): Promise<SshSession> {
    if (this.#session) return this.#session;
    const opening = openSsh({
      ...this.#options.target,
      connectTimeoutMs: this.#options.connectMs ?? 10_000,
      signal: this.#disposed.signal,
    });
    const forget = (): void => {
      if (this.#session === opening) this.#session = undefined;
    };
    opening.then((session) => session.closed.then(forget), forget);
    this.#session = opening;
    return opening;
  }
}

function explain(error: unknown, argv: readonly string[], host: string): Error {
  if (!(error instanceof SshError)) return toError(error);
  if (error.kind === "output-limit") return outputTooLong(argv);
  if (error.kind === "timeout" && error.context["timeoutMs"] !== undefined) return tooSlow(argv);
  return new EngineError("host-lost", `the shell of ${host} is out of reach`, { host }, { cause: error });
}
