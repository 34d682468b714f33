import type { Duplex } from "node:stream";
import { raceAbort, Semaphore, withDeadline } from "@godwit/core";
import type { Channel, Client, ClientChannel } from "ssh2";
import type { Carrier } from "./carrier.ts";
import { ChannelStream } from "./channel-stream.ts";
import { SshError } from "./errors.ts";
import { AnnouncedLine, Command, type CommandLimits, type ExecOptions, type ExecResult } from "./exec.ts";
import { shellCommand } from "./quote.ts";

export interface Waiting {
  readonly signal?: AbortSignal | undefined;
}

export interface SpawnOptions extends Waiting {
  /** What to call the command in errors, when it is long. */
  readonly name?: string | undefined;
}

/** A running remote command whose input and output are one stream. */
export interface SshProcess {
  /** Ends when the command's output does; destroyed with a `remote` error when it fails, its stderr in the message. */
  readonly stream: Duplex;
  /** The end of what the command wrote to stderr so far. */
  readonly stderr: () => string;
}

/** An authenticated SSH connection to one host. Many may use it at once; whoever opened it closes it. */
export interface SshSession extends AsyncDisposable {
  /** `ssh://user@host:port` */
  readonly description: string;
  /** Resolves when the session is gone: with the reason, or with undefined after `close()`. Never rejects. */
  readonly closed: Promise<SshError | undefined>;
  /**
   * Runs a command to its end. Words are quoted for a POSIX shell, a string is given to the shell as it
   * is. A command that fails is a result, not an error. At most 8 run at once (sshd's default allows 10
   * sessions), the others wait. On abort, timeout or too
   * much output the command and its children are killed before the call rejects, as far as the host can
   * be reached within 2 s.
   */
  exec(command: string | readonly string[], options?: ExecOptions): Promise<ExecResult>;
  spawn(command: string | readonly string[], options?: SpawnOptions): Promise<SshProcess>;
  /** A connection to a Unix socket of the host (direct-streamlocal@openssh.com). */
  openUnixSocket(path: string, options?: Waiting): Promise<Duplex>;
  /**
   * A Unix socket of this machine that leads to one of the host through a process of the system's `ssh`, for much data;
   * whoever asked disposes it. Undefined where there is no `ssh`, or it cannot log in as we did.
   */
  carry(path: string, options?: Waiting): Promise<Carrier | undefined>;
  /** A connection that the host makes for us. */
  openTcp(host: string, port: number, options?: Waiting): Promise<Duplex>;
  /** Idempotent; resolves when the connection, and those it was built on, are gone. */
  close(): Promise<void>;
}

const MAX_COMMANDS = 8;
const EXEC_TIMEOUT_MS = 60_000;
const MAX_OUTPUT = 1 << 20;
const KILL_GRACE_MS = 2000;
const STDERR_TAIL = 4096;
const CLOSE_GRACE_MS = 1000;
/** RFC 4254 says 32768 at least; ssh2 would loop for ever on 0. */
const MIN_PACKET = 1024;

export interface SessionParts {
  /** What the session runs over; ends with it. */
  readonly below?: AsyncDisposable | undefined;
  readonly carry?: SshSession["carry"] | undefined;
}

export class Session implements SshSession {
  readonly description: string;
  readonly closed: Promise<SshError | undefined>;
  readonly #client: Client;
  readonly #socket: Duplex;
  readonly #below: AsyncDisposable | undefined;
  readonly #carry: SshSession["carry"];
  readonly #commands = new Semaphore(MAX_COMMANDS);
  readonly #kills = new Semaphore(1);
  readonly #streams = new Set<ChannelStream>();
  #closing = false;
  #ended: SshError | undefined;

  /** `client` is ready and runs over `socket`, which ends with the session. */
  constructor(client: Client, socket: Duplex, description: string, parts: SessionParts = {}) {
    this.#client = client;
    this.#socket = socket;
    this.#below = parts.below;
    this.#carry = parts.carry ?? (() => Promise.resolve(undefined));
    this.description = description;
    this.closed = new Promise((resolve) => {
      const ended = (cause?: Error): void => {
        this.#end(cause);
        resolve(this.#closing ? undefined : this.#ended);
      };
      client.on("error", ended);
      client.on("close", () => ended());
      socket.on("close", () => ended());
      if (socket.destroyed) ended();
    });
  }

  exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const line = commandLine(command);
    const what = `${this.description}: ${summary(line)}`;
    const { timeoutMs = EXEC_TIMEOUT_MS } = options;
    const late = (): SshError =>
      new SshError("timeout", `${what}: not done after ${timeoutMs} ms; it was killed. Allow it more time`, { timeoutMs });
    return withDeadline(timeoutMs, late, options.signal, async (signal) => {
      const running = await this.#start(new AnnouncedLine(line), { what, maxOutputBytes: options.maxOutputBytes ?? MAX_OUTPUT }, signal);
      try {
        running.feed(options.stdin);
        return await raceAbort(running.result, signal);
      } catch (error) {
        await this.#kill(running);
        throw error;
      }
    });
  }

  async spawn(command: string | readonly string[], options: SpawnOptions = {}): Promise<SshProcess> {
    const line = commandLine(command);
    const name = options.name ?? summary(line);
    const channel = await this.#run(line, name, options);
    let stderr = Buffer.alloc(0);
    let failure: string | undefined;
    channel.stderr.on("data", (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_TAIL);
    });
    // "close" tells what "exit" told, which may be over by now; this listener comes before the stream's.
    channel.on("close", (code?: number | null, signal?: string) => {
      if (code === undefined) return;
      failure = code === 0 ? undefined : code === null ? `was ended by ${signal ?? "a signal"}` : `failed with exit code ${code}`;
    });
    const text = (): string => stderr.toString("utf8").trim();
    const ending = (): Error | undefined =>
      failure === undefined ? undefined : new SshError("remote", `${this.description}: ${name} ${failure}: ${text() || "it said nothing"}`);
    return { stream: this.#track(channel, ending, true), stderr: text };
  }

  async openUnixSocket(path: string, options: Waiting = {}): Promise<Duplex> {
    const channel = await this.#open(`to connect to the Unix socket ${path}`, options, (done) =>
      this.#client.openssh_forwardOutStreamLocal(path, done),
    );
    return this.#track(channel, () => undefined);
  }

  async carry(path: string, options: Waiting = {}): Promise<Carrier | undefined> {
    if (this.#ended) throw this.#ended;
    return await this.#carry(path, options);
  }

  async openTcp(host: string, port: number, options: Waiting = {}): Promise<Duplex> {
    const channel = await this.#open(`to connect to ${host}:${port}`, options, (done) =>
      this.#client.forwardOut("127.0.0.1", 0, host, port, done),
    );
    return this.#track(channel, () => undefined);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#end();
    this.#client.end();
    // A dead link never answers the farewell.
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_GRACE_MS);
    await new Promise<void>((resolve) => {
      if (this.#socket.destroyed) resolve();
      else this.#socket.once("close", resolve);
    });
    clearTimeout(timer);
    await this.#below?.[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Takes a turn and starts. sshd counts a session until its command is over, so the turn lasts as long, even when nobody waits any more. */
  async #start(line: AnnouncedLine, limits: CommandLimits, signal: AbortSignal): Promise<Command> {
    const turn = await this.#commands.acquire({ signal });
    const starting = this.#run(line.text, limits.what, {}).then((channel) => new Command(channel, line, limits));
    starting.then(
      (command) => command.closed.then(() => turn[Symbol.dispose]()),
      () => turn[Symbol.dispose](),
    );
    try {
      return await raceAbort(starting, signal);
    } catch (error) {
      starting.then(
        (command) => this.#kill(command),
        () => undefined,
      );
      throw error;
    }
  }

  /** Resolves when the command is dead, or could not be reached in time. Never rejects. */
  async #kill(command: Command): Promise<void> {
    const reached = new AbortController();
    const timer = setTimeout(() => reached.abort(new SshError("timeout", "the command could not be killed in time")), KILL_GRACE_MS);
    try {
      const group = await raceAbort(command.group, reached.signal);
      // One at a time: they are beyond the eight that may run.
      using _turn = await this.#kills.acquire({ signal: reached.signal });
      if (group !== undefined) (await this.#run(`kill -KILL -- -${group}`, "kill", reached)).resume();
      await raceAbort(command.closed, reached.signal);
    } catch {
      // The host does not answer: closing the channel is all that is left.
    } finally {
      clearTimeout(timer);
      command.close();
    }
  }

  #run(line: string, name: string, options: Waiting): Promise<ClientChannel> {
    return this.#open(`to run ${name}`, options, (done) => this.#client.exec(line, done));
  }

  /** Opens one channel. When the caller gave up meanwhile, the channel is closed as soon as it is there. */
  async #open<C extends Channel>(
    what: string,
    { signal }: Waiting,
    start: (done: (error: Error | undefined, channel: C) => void) => void,
  ): Promise<C> {
    signal?.throwIfAborted();
    if (this.#ended) throw this.#ended;
    const opening = new Promise<C>((resolve, reject) => {
      start((error, channel) => {
        if (!error) resolve(channel);
        else reject(this.#ended ?? new SshError("channel", `${this.description}: the server refused ${what}`, {}, { cause: error }));
      });
    });
    const gone = this.closed.then((error) =>
      Promise.reject(error ?? new SshError("closed", `${this.description}: the session was closed`)),
    );
    try {
      const channel = await raceAbort(Promise.race([opening, gone]), signal);
      const { packetSize } = (channel as unknown as { outgoing: { packetSize: number } }).outgoing;
      if (packetSize < MIN_PACKET)
        throw new SshError("channel", `${this.description}: the server takes only ${packetSize} bytes at a time, which is no SSH`);
      return channel;
    } catch (error) {
      opening.then(
        (channel) => channel.close(),
        () => undefined,
      );
      throw error;
    }
  }

  #track(channel: Channel, ending: () => Error | undefined, waitForExit = false): ChannelStream {
    const stream = new ChannelStream(channel, () => this.#ended ?? ending(), waitForExit);
    this.#streams.add(stream);
    stream.on("close", () => this.#streams.delete(stream));
    if (isCommand(channel)) channel.stderr.resume();
    return stream;
  }

  #end(cause?: Error): void {
    const options = cause && { cause };
    this.#ended ??= this.#closing
      ? new SshError("closed", `${this.description}: the session was closed`)
      : new SshError("closed", `${this.description}: the connection was lost`, {}, options);
    for (const stream of this.#streams) stream.destroy(this.#ended);
    if (cause) this.#socket.destroy();
  }
}

/** ssh2 gives every channel a stderr; only a command's carries anything. */
function isCommand(channel: Channel | ClientChannel): channel is ClientChannel {
  return "stderr" in channel;
}

function commandLine(command: string | readonly string[]): string {
  return typeof command === "string" ? command : shellCommand(command);
}

function summary(line: string): string {
  const text = line.replaceAll(/\s+/g, " ").trim();
  return text.length > 120 ? `${text.slice(0, 117)}…` : text;
}
