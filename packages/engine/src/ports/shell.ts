import type { Duplex } from "node:stream";

/** What a command left behind. */
export interface CommandResult {
  /** Exit code; undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A shell on a host, for facts and counters that the hypervisor does not tell. Commands must be harmless to
 * repeat. Output is bounded (1 MiB); more is an error.
 */
export interface HostShell extends AsyncDisposable {
  /** Runs an argument vector (quoted by the implementation). Rejects when the shell is out of reach or on abort; a non-zero exit is a result. */
  run(argv: readonly string[], options: { signal: AbortSignal; stdin?: string | undefined }): Promise<CommandResult>;
  /**
   * A Unix socket of this machine that leads to one of the host, by whatever carries much: the path, until it is disposed.
   * Undefined, or absent, where nothing carries more than `openUnixSocket` does.
   */
  carry?(
    path: string,
    options: { readonly signal?: AbortSignal | undefined },
  ): Promise<(AsyncDisposable & { readonly path: string }) | undefined>;
  /** Connects to a Unix socket of the host. Absent where the shell carries no sockets. */
  openUnixSocket?(path: string, options: { readonly signal?: AbortSignal | undefined }): Promise<Duplex>;
}
