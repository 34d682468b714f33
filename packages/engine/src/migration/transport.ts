import type { HostView } from "../model/host.ts";
import type { Check, Reason } from "../model/reason.ts";
import type { MoveTransport } from "../ports/migration.ts";
import { fail, warn } from "./checks.ts";
import { contractOf, type MigrationInput, transportOf } from "./model.ts";
import { compareVersions } from "./preflight.ts";

/** Below this a second stream saves less time than it takes to set up, bytes. */
const worthStreams = 1 << 30;
/** A stream that reaches so much of the link leaves nothing for another one. */
const linkIsFull = 0.7;
/** Links below this are filled by one stream of any machine, Mbit/s. */
const fastLinkMbps = 10_000;
const maximumStreams = 8;
/** Memory that changes at so much of what the path carries is worth sending as differences. */
const worthDifferences = 0.8;

export interface TransportFacts {
  readonly input: MigrationInput;
  /** Of the slower interface of both ends, when they tell. */
  readonly linkMbps?: number | undefined;
  /** What one stream reached in past moves over this network. */
  readonly streamBytesPerSecond?: number | undefined;
  /** What this move may use, a limit that was asked for included. */
  readonly pathBytesPerSecond?: number | undefined;
  readonly dirtyBytesPerSecond?: number | undefined;
  /** What is to be sent of the memory. */
  readonly memoryBytes: number;
  /** CPUs of the smaller host. */
  readonly cpus: number;
}

/** How the memory goes, and why so. */
export interface ChosenTransport extends MoveTransport {
  readonly reasons: Reason[];
}

/** What was asked for stands; the rest is chosen by the link and by what was measured on it. Pure. */
export function chooseTransport(facts: TransportFacts): ChosenTransport {
  const asked = transportOf(facts.input);
  const streams = chooseStreams(facts);
  const differences = chooseCompression(facts, streams.count);
  const reasons = [
    { code: "streams", text: streams.text },
    { code: "compression", text: differences.text },
    { code: "encryption", text: asked.tls ? "encrypted, as asked for" : "not encrypted: nobody asked for it (--tls)" },
    ...(asked.zeroCopy ? [{ code: "zero-copy", text: "sent without a copy in the kernel, as asked for" }] : []),
  ];
  return { ...asked, parallelConnections: streams.count, compression: differences.method, reasons };
}

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

function chooseStreams({ input, linkMbps, streamBytesPerSecond, memoryBytes, cpus }: TransportFacts): { count?: number; text: string } {
  const { parallelConnections } = input;
  if (parallelConnections !== undefined)
    return parallelConnections > 1
      ? { count: parallelConnections, text: `${parallelConnections} streams, as asked for` }
      : { text: "one stream, as asked for" };
  if (contractOf(input).policy === "post-copy") return { text: "one stream: several exclude post-copy" };
  if (input.compression !== undefined) return { text: "one stream: several exclude compression here" };
  if (memoryBytes < worthStreams) return { text: `one stream: several are not worth it for ${mib(memoryBytes)}` };
  if (linkMbps === undefined) return { text: "one stream: how fast the link is, is not told" };
  if (linkMbps < fastLinkMbps) return { text: `one stream fills a link of ${linkMbps} Mbit/s` };
  if (streamBytesPerSecond === undefined) return { text: "one stream, until it was measured what one carries over this network" };
  const link = (linkMbps * 1e6) / 8;
  const reached = `one stream carried ${mib(streamBytesPerSecond)}/s of the link's ${mib(link)}/s`;
  if (streamBytesPerSecond >= link * linkIsFull) return { text: `one stream: ${reached}` };
  const count = Math.min(maximumStreams, Math.floor(cpus / 2), Math.ceil(link / streamBytesPerSecond));
  return count > 1 ? { count, text: `${count} streams: ${reached}` } : { text: `one stream, for want of CPUs: ${reached}` };
}

function chooseCompression(
  { input, pathBytesPerSecond, dirtyBytesPerSecond }: TransportFacts,
  streams: number | undefined,
): { method?: string; text: string } {
  const { compression } = input;
  if (compression !== undefined)
    return compression === "none"
      ? { text: "not compressed, as asked for" }
      : { method: compression, text: `compressed with ${compression}, as asked for` };
  if (streams !== undefined) return { text: "not compressed: several streams exclude it here" };
  if (dirtyBytesPerSecond === undefined || pathBytesPerSecond === undefined)
    return { text: "not compressed: how fast memory changes was not measured" };
  const figures = `memory changes by ${mib(dirtyBytesPerSecond)}/s, and the path carries ${mib(pathBytesPerSecond)}/s`;
  if (dirtyBytesPerSecond < pathBytesPerSecond * worthDifferences) return { text: `not compressed: ${figures}` };
  if (contractOf(input).policy === "post-copy") return { text: `not compressed: ${figures}, but post-copy sends no page twice` };
  return { method: "xbzrle", text: `pages that are sent again go as differences (xbzrle): ${figures}` };
}

/** What one host can do of it, as its shell says. */
export interface TransportAbility {
  /** Certificates for migrations are where the hypervisor looks for them. */
  readonly certificates: boolean;
  /** The daemon may let a guest lock all its memory. */
  readonly locksMemory: boolean;
}

/** What was asked for and excludes itself, or cannot be on one of both hosts. Pure. */
export function transportChecks(
  input: MigrationInput,
  ends: readonly { readonly host: HostView; readonly can: TransportAbility | undefined }[],
): Check[] {
  return [
    ...excluded(input),
    ...methods(
      input,
      ends.map(({ host }) => host),
    ),
    ...abilities(input, ends),
  ];
}

function excluded(input: MigrationInput): Check[] {
  const several = (input.parallelConnections ?? 1) > 1;
  const checks: Check[] = [];
  const no = (text: string, remedy: string): void => void checks.push(fail("transport", text, remedy));
  if (several && contractOf(input).policy === "post-copy")
    no("several streams exclude post-copy", "leave one of --parallel and --policy post-copy out");
  if (input.zeroCopy !== true) return checks;
  if (!several) no("zero-copy needs several streams", "say --parallel 2 or more, too");
  if (input.tls === true) no("what is encrypted cannot be sent without a copy", "leave one of --tls and --zero-copy out");
  if (input.compression !== undefined && input.compression !== "none")
    no("what is compressed cannot be sent without a copy", "leave one of --compression and --zero-copy out");
  return checks;
}

/** zlib and zstd came with libvirt 9.4, for several streams only; the others exclude several. */
function methods({ compression, parallelConnections = 1 }: MigrationInput, hosts: readonly HostView[]): Check[] {
  if (compression === undefined || compression === "none") return [];
  if (compression === "xbzrle" || compression === "mt") {
    if (parallelConnections <= 1) return [];
    return [fail("transport", `${compression} excludes several streams`, "leave one of --parallel and --compression out")];
  }
  const old = hosts.filter(({ facts }) => facts && compareVersions(facts.versions.libvirt, "9.4.0") < 0);
  if (old.length > 0) {
    const text = old.map(({ name, facts }) => `libvirt ${facts?.versions.libvirt ?? ""} of ${name}`).join(" and ");
    return [fail("transport", `${text} cannot compress with ${compression}`, "use --compression xbzrle, or libvirt 9.4 or later")];
  }
  if (parallelConnections > 1) return [];
  return [fail("transport", `${compression} needs several streams`, "say --parallel 2 or more, too")];
}

function abilities(
  { tls, zeroCopy }: MigrationInput,
  ends: readonly { readonly host: HostView; readonly can: TransportAbility | undefined }[],
): Check[] {
  const checks: Check[] = [];
  for (const { host, can } of ends) {
    if (tls !== true && zeroCopy !== true) continue;
    if (!can) {
      checks.push(
        warn(
          "transport",
          `whether ${host.name} can do it cannot be seen`,
          "give Godwit SSH access to it; the hypervisor refuses what it cannot",
        ),
      );
      continue;
    }
    if (tls === true && !can.certificates)
      checks.push(
        fail(
          "transport",
          `${host.name} has no certificates for encrypted migration`,
          "put ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem into /etc/pki/qemu there",
        ),
      );
    if (zeroCopy === true && !can.locksMemory)
      checks.push(
        fail(
          "transport",
          `libvirt on ${host.name} may not let guests lock their memory, which zero-copy needs`,
          "run it with CAP_SYS_RESOURCE, or leave --zero-copy out",
        ),
      );
  }
  return checks;
}
