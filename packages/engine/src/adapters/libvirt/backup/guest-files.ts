import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { anySignal, type BlockSource, type Clock, systemClock } from "@godwit/core";
import { type Connection, type Domain, DomainDeviceModifyFlags } from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";
import type { ArchiveEnd, HostGuestFiles } from "../../../ports/guest-files.ts";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { engineError } from "../errors.ts";
import { carriedOut, findDomain, type LibvirtAccess, needDomain, unlessRefused } from "../migration/access.ts";
import { parseDocument } from "../xml/document.ts";
import { askAgent } from "./agent.ts";

/** Names of channels that are ours. */
const MARK = "org.godwit.files.";
const ASK_SECONDS = 5;
const lookMs = 500;
/** What is on its way when the guest's command has ended arrives within this, milliseconds. */
const arrivalMs = 10_000;
/** A command that neither ends nor sends or takes anything for so long hangs, as on a share of the guest's that is gone. */
const silentMs = 30 * 60_000;
const sliceBytes = 1 << 20;
const trailerBytes = 128;

/** `$1` is a channel's name: sets `port` to its device, which takes a moment to appear. */
const findPort = `port=; n=0
while [ -z "$port" ]; do
  for one in /sys/class/virtio-ports/*; do
    [ "$(cat "$one/name" 2>/dev/null)" = "$1" ] && [ -c "/dev/\${one##*/}" ] && port=/dev/\${one##*/}
  done
  [ -n "$port" ] && break
  n=$((n + 1)); [ $n -lt 100 ] || { echo "the guest does not see the channel $1" >&2; exit 3; }
  sleep 0.1
done`;

/** `$1` channel, `$2` what ends the archive, then paths without the first slash. */
const pack = `${findPort}
end=$2; shift 2; cd / || exit 4
more=; kind=other
tar --help 2>&1 | grep -q -- --xattrs && { more="--xattrs --acls --sparse"; kind=gnu; }
exec 5>"$port" || exit 5
tar $more -cf - -- "$@" >&5; code=$?
printf '\\n%s %s %s\\n' "$end" "$code" "$kind" >&5
exit $code`;

/** `$1` channel, `$2` folder, `$3` bytes. */
const unpack = `${findPort}
mkdir -p "$2" || exit 4
more=; tar --help 2>&1 | grep -q -- --xattrs && more="--xattrs --acls"
head -c "$3" <"$port" | tar $more -xpf - -C "$2"`;

interface Parts {
  readonly host: LibvirtAccess;
  readonly shell: HostShell;
  readonly clock: Clock;
}

interface Guest {
  readonly connection: Connection;
  readonly dom: Domain;
  readonly clock: Clock;
}

function isLibvirt(host: HypervisorHost): host is LibvirtAccess {
  return "connection" in host;
}

/**
 * Files of guests on a libvirt host: a channel is plugged in for as long as it takes, and `tar` in the guest writes to
 * it or reads from it. The agent only starts `tar`, so that nothing large goes through it.
 */
export function libvirtGuestFiles(host: HypervisorHost, shell: HostShell, clock: Clock = systemClock): HostGuestFiles {
  if (!isLibvirt(host)) throw new EngineError("invalid", "this is not a libvirt host");
  const parts: Parts = { host, shell, clock };
  return {
    pack: (vmId, archive, take, { signal }) => explained("packing files in the guest", packIn(parts, vmId, archive, take, signal)),
    unpack: (vmId, archive, options) => explained("unpacking files in the guest", unpackIn(parts, vmId, archive, options)),
    end: (vmId, { signal }) => explained("unplugging the channel", unplug(host.connection, vmId, signal)),
  };
}

async function explained<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw engineError(error, what);
  }
}

async function packIn(
  parts: Parts,
  vmId: string,
  { id, paths }: Parameters<HostGuestFiles["pack"]>[1],
  take: (piece: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<ArchiveEnd> {
  const { guest, name, socket } = await plug(parts, vmId, id, signal);
  using _closed = { [Symbol.dispose]: () => socket.destroy() };
  const mark = `GODWIT-END ${randomBytes(16).toString("hex")}`;
  const pid = await start(guest, [pack, "sh", name, mark, ...paths.map((path) => path.replace(/^\/+/, "") || ".")], signal);
  const over = new AbortController();
  // Asked once: an agent forgets a command whose end it has told.
  let heardAt = parts.clock.monotonic();
  const taken = async (piece: Uint8Array): Promise<void> => {
    await take(piece);
    heardAt = parts.clock.monotonic();
  };
  const status = awaitEnd(guest, pid, () => heardAt, anySignal(signal, over.signal));
  const stopped = status.then(async (end) => {
    await parts.clock.sleep(arrivalMs, { signal: over.signal });
    throw new EngineError("invalid", `the guest stopped sending: ${wordsOf(end)}`);
  });
  try {
    const { code, kind } = await Promise.race([stopped, readArchive(socket, mark, taken, signal)]);
    const words = wordsOf(await status);
    // GNU tar ends with 1 when a file changed while it was read; others when one was not read at all.
    if (code !== 0 && !(code === 1 && kind === "gnu")) throw new EngineError("invalid", `the guest could not read all of it: ${words}`);
    return { warnings: code === 0 ? [] : [words] };
  } finally {
    over.abort();
    await stopped.catch(() => undefined);
  }
}

/** Hands over what comes before the mark; the mark's line may be torn over pieces. */
export async function readArchive(
  socket: Duplex,
  mark: string,
  take: (piece: Uint8Array) => Promise<void>,
  signal: AbortSignal,
): Promise<{ readonly code: number; readonly kind: string }> {
  let held: Buffer = Buffer.alloc(0);
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    signal.throwIfAborted();
    held = Buffer.concat([held, piece as Buffer]);
    const at = held.lastIndexOf(`\n${mark} `);
    const match = at < 0 ? null : /^ (\d+) (\w+)\n$/.exec(held.toString("latin1", at + 1 + mark.length));
    if (match) {
      if (at > 0) await take(held.subarray(0, at));
      return { code: Number(match[1]), kind: match[2] ?? "" };
    }
    if (held.length <= trailerBytes) continue;
    await take(held.subarray(0, held.length - trailerBytes));
    held = Buffer.from(held.subarray(held.length - trailerBytes));
  }
  throw new EngineError("host-lost", "the guest's channel was closed before all files had come");
}

async function unpackIn(
  parts: Parts,
  vmId: string,
  { id, into, source }: Parameters<HostGuestFiles["unpack"]>[1],
  { signal, progress }: Parameters<HostGuestFiles["unpack"]>[2],
): Promise<void> {
  const { guest, name, socket } = await plug(parts, vmId, id, signal);
  using _closed = { [Symbol.dispose]: () => socket.destroy() };
  const pid = await start(guest, [unpack, "sh", name, into, `${source.size}`], signal);
  const over = new AbortController();
  const both = anySignal(signal, over.signal);
  // A command that ends early reads no more, and what we write would wait for ever.
  let heardAt = parts.clock.monotonic();
  const status = awaitEnd(guest, pid, () => heardAt, both);
  const sent = (bytes: number): void => {
    heardAt = parts.clock.monotonic();
    progress(bytes);
  };
  const sending = send(source, socket, sent, both);
  try {
    await Promise.race([status, sending]);
    const end = await status;
    if (end.code !== 0) throw new EngineError("invalid", `the guest could not unpack all of it: ${wordsOf(end)}`);
  } finally {
    over.abort();
    await Promise.allSettled([status, sending]);
  }
}

async function send(source: BlockSource, socket: Duplex, progress: (bytes: number) => void, signal: AbortSignal): Promise<void> {
  for (let at = 0; at < source.size; at += sliceBytes) {
    const slice = new Uint8Array(Math.min(sliceBytes, source.size - at));
    await source.read(at, slice, { signal });
    if (!socket.write(slice)) await drained(socket, signal);
    progress(at + slice.length);
  }
}

async function drained(socket: Duplex, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: unknown): void => {
      socket.off("drain", settle).off("close", closed);
      signal.removeEventListener("abort", aborted);
      if (error === undefined) resolve();
      else reject(error);
    };
    const closed = (): void => settle(new EngineError("host-lost", "the guest's channel was closed"));
    const aborted = (): void => settle(signal.reason);
    socket.on("drain", settle).on("close", closed);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
  });
}

/** Plugs a channel in, and connects to its end on the host. */
async function plug(
  { host, shell, clock }: Parts,
  vmId: string,
  id: string,
  signal: AbortSignal,
): Promise<{ readonly guest: Guest; readonly name: string; readonly socket: Duplex }> {
  const { connection } = host;
  const dom = await needDomain(connection, vmId, signal);
  const name = `${MARK}${id.slice(0, 40)}`;
  const xml = `<channel type='unix'><source mode='bind'/><target type='virtio' name='${name}'/></channel>`;
  await carriedOut(connection.remote.domainAttachDeviceFlags({ dom, xml, flags: DomainDeviceModifyFlags.LIVE }), signal);
  const channel = (await channelsOf(connection, dom, signal)).find((one) => one.includes(`name='${name}'`));
  const path = channel === undefined ? undefined : parseDocument(channel, "channel").child("source")?.attribute("path");
  if (path === undefined || !shell.openUnixSocket)
    throw new EngineError("invalid", "the host's shell carries no sockets: register the host with a +ssh URI");
  return { guest: { connection, dom, clock }, name, socket: await shell.openUnixSocket(path, { signal }) };
}

async function channelsOf(connection: Connection, dom: Domain, signal: AbortSignal): Promise<string[]> {
  const xml = await unlessRefused(connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  return (xml?.match(/<channel type='unix'>[^]*?<\/channel>/g) ?? []).filter((one) => one.includes(`name='${MARK}`));
}

async function unplug(connection: Connection, vmId: string, signal: AbortSignal): Promise<void> {
  const dom = await findDomain(connection, vmId, signal);
  if (!dom) return;
  for (const xml of await channelsOf(connection, dom, signal))
    await unlessRefused(connection.remote.domainDetachDeviceFlags({ dom, xml, flags: DomainDeviceModifyFlags.LIVE }, { signal }));
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (answer: unknown): Fields => (answer !== null && typeof answer === "object" ? (answer as Fields) : {});

async function start(guest: Guest, script: readonly string[], signal: AbortSignal): Promise<number> {
  const command = { execute: "guest-exec", arguments: { path: "/bin/sh", arg: ["-c", ...script], "capture-output": true } };
  const { pid } = fieldsOf(await askAgent(guest, command, { timeoutSeconds: ASK_SECONDS, signal }));
  if (typeof pid !== "number") throw new EngineError("invalid", "the guest's agent did not start a command: is guest-exec allowed?");
  return pid;
}

interface ExecStatus {
  readonly code: number | undefined;
  readonly words: string;
}

/** `heardAt`: when the guest last sent or took something. Exported for its tests. Throws `timeout` when it hangs. */
export async function awaitEnd(guest: Guest, pid: number, heardAt: () => number, signal: AbortSignal): Promise<ExecStatus> {
  for (;;) {
    const command = { execute: "guest-exec-status", arguments: { pid } };
    const { exited, exitcode, "err-data": words } = fieldsOf(await askAgent(guest, command, { timeoutSeconds: ASK_SECONDS, signal }));
    if (exited === true) {
      const text = Buffer.from(typeof words === "string" ? words : "", "base64").toString("utf8");
      return { code: typeof exitcode === "number" ? exitcode : undefined, words: text.trim().split("\n").slice(-3).join("; ") };
    }
    if (guest.clock.monotonic() - heardAt() > silentMs)
      throw new EngineError("timeout", `the guest's command has neither ended nor gone on for ${silentMs / 60_000} minutes`);
    await guest.clock.sleep(lookMs, { signal });
  }
}

function wordsOf({ code, words }: ExecStatus): string {
  return words === "" ? `exit code ${code ?? "none"}` : words;
}
