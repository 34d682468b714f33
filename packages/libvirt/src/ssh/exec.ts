import { randomBytes } from "node:crypto";
import type { ClientChannel } from "ssh2";
import { SshError } from "./errors.ts";

export interface ExecOptions {
  readonly stdin?: string | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  /** From the call on, also while it waits for its turn; default 60 s. */
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

/**
 * A command line that first tells its process group on stderr. sshd passes no signals on to root's
 * commands ("session signalling requires privilege separation"), so killing one takes a second command.
 */
export class AnnouncedLine {
  readonly text: string;
  readonly #mark: string = `godwit-${randomBytes(12).toString("hex")}`;

  constructor(line: string) {
    this.text = `echo ${this.#mark} $$ >&2\n${line}`;
  }

  /** The process group, as soon as stderr has told it. */
  group(stderr: string): number | undefined {
    const match = new RegExp(`${this.#mark} (\\d{1,9})\n`).exec(stderr);
    return match ? Number(match[1]) : undefined;
  }

  /** stderr without the announcement. */
  strip(stderr: string): string {
    return stderr.replace(new RegExp(`${this.#mark} \\d{1,9}\n`), "");
  }
}

export interface CommandLimits {
  /** For messages. */
  readonly what: string;
  readonly maxOutputBytes: number;
}

/** A command on its channel, whose bounded output is collected until it ends. */
export class Command {
  /** Rejects with `output-limit`, or `closed` when the connection ended first. The command itself is not killed then. */
  readonly result: Promise<ExecResult>;
  /** Resolves when the command is over, or its connection is. */
  readonly closed: Promise<void>;
  /** Resolves when the process group is known, or never will be. */
  readonly group: Promise<number | undefined>;
  readonly #channel: ClientChannel;

  constructor(channel: ClientChannel, line: AnnouncedLine, { what, maxOutputBytes }: CommandLimits) {
    this.#channel = channel;
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let bytes = 0;
    const result = Promise.withResolvers<ExecResult>();
    const group = Promise.withResolvers<number | undefined>();
    const closed = Promise.withResolvers<void>();
    [this.result, this.group, this.closed] = [result.promise, group.promise, closed.promise];
    // Whoever gave up before it is over does not look.
    this.result.catch(() => undefined);
    const into = (chunks: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxOutputBytes + ANNOUNCEMENT) chunks.push(chunk);
      else
        result.reject(
          new SshError("output-limit", `${what}: wrote more than ${maxOutputBytes} bytes; it was killed. Allow it more`, {
            maxOutputBytes,
          }),
        );
    };
    const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString("utf8");
    channel.on("data", into(stdout));
    channel.stderr.on("data", into(stderr));
    channel.stderr.on("data", function announced() {
      const found = line.group(text(stderr));
      if (found === undefined && bytes <= maxOutputBytes) return;
      channel.stderr.off("data", announced);
      group.resolve(found);
    });
    channel.on("error", result.reject);
    // Not at "exit": that may be over before anybody could listen, when all of a short command came in one segment.
    channel.on("close", (code?: number | null, signal?: string) => {
      if (code !== undefined) result.resolve({ code, signal: signal ?? null, stdout: text(stdout), stderr: line.strip(text(stderr)) });
      else result.reject(new SshError("closed", `${what}: the connection ended before the command did`));
      group.resolve(undefined);
      closed.resolve();
    });
  }

  feed(stdin: string | Uint8Array | undefined): void {
    this.#channel.end(stdin);
  }

  close(): void {
    this.#channel.close();
  }
}

/** Room for the announcement in the output. */
const ANNOUNCEMENT = 64;
