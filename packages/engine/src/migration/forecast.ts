import type { PausePolicy } from "./contract.ts";
import { maximumThrottlePercent, roomOf } from "./contract.ts";

/** A figure with where it comes from, for people. */
export interface Estimate {
  readonly value: number;
  readonly text: string;
}

/** Bytes, bytes per second, milliseconds. */
export interface ForecastFacts {
  /** Memory that has to be sent once: what the hypervisor keeps of it, without what is zero. */
  readonly residentBytes: number;
  /** How fast it changes memory; absent: nobody has measured it yet. */
  readonly dirty?: Estimate | undefined;
  readonly bandwidth: Estimate;
  /** What a move takes besides the sending. */
  readonly overhead: Estimate;
  /** Data of the disks that are copied. */
  readonly diskBytes: number;
  readonly maximumPauseMs: number;
  readonly policy: PausePolicy;
  /** What of a pause passes whatever is left to send; absent: the state of the devices alone. */
  readonly switchover?: Estimate | undefined;
}

/** Another way to do it, and what that would cost. */
export interface ForecastOption {
  readonly option: "raise-pause" | "auto-converge" | "post-copy" | "suspend-at-last" | "quick";
  readonly pauseMs: number;
  readonly totalMs: number;
  readonly text: string;
}

export interface Forecast {
  readonly totalMs: number;
  /** Of a move that stands still: what the rule alone says, for later ones to learn from. */
  readonly ruleMs?: number;
  readonly pauseMs: number;
  /** Of `pauseMs`, what passes whatever is left to send, as past moves had it. */
  readonly switchoverMs?: number;
  readonly bytes: number;
  /** Of a live move: what the hypervisor kept of the guest's memory, for later ones to learn how much of it is sent. */
  readonly residentBytes?: number;
  /** Of `bytes`, the memory that is sent once, and the disks. */
  readonly firstBytes?: number;
  readonly diskBytes?: number;
  readonly rounds: number;
  /** Whether what is left comes down to the promised pause, by the policy. */
  readonly converges: boolean;
  readonly dirtyBytesPerSecond?: number;
  readonly bandwidthBytesPerSecond: number;
  /** Of `totalMs`, what passes whatever there is to send. */
  readonly overheadMs?: number;
  readonly text: string;
  /** What the figures stand on. */
  readonly reasons: string[];
  /** Only when it does not converge. */
  readonly options: ForecastOption[];
}

/** The state of the devices, at the least, goes in the pause. */
const leastPauseMs = 20;
const maximumRounds = 50;

const leastOf = ({ switchover }: ForecastFacts): number => Math.max(leastPauseMs, switchover?.value ?? 0);

interface Rounds {
  readonly bytes: number;
  readonly ms: number;
  readonly rounds: number;
  /** What is left for the pause. */
  readonly left: number;
  readonly converges: boolean;
}

/**
 * Sends the memory, then what was changed meanwhile, and so on, until the rest fits the pause. What can change
 * in a round is bounded by the memory itself.
 */
function simulate({ residentBytes, bandwidth, maximumPauseMs, switchover }: ForecastFacts, dirtyBytesPerSecond: number): Rounds {
  const perMs = bandwidth.value / 1000;
  const threshold = perMs * roomOf(maximumPauseMs, switchover?.value ?? 0);
  let [bytes, ms, left, rounds] = [0, 0, residentBytes, 0];
  while (rounds < maximumRounds) {
    const took = left / perMs;
    bytes += left;
    ms += took;
    rounds += 1;
    const next = Math.min(residentBytes, (dirtyBytesPerSecond / 1000) * took);
    if (next <= threshold) return { bytes, ms, rounds, left: next, converges: true };
    if (next >= left * 0.99 && rounds > 1) return { bytes, ms, rounds, left: next, converges: false };
    left = next;
  }
  return { bytes, ms, rounds, left, converges: false };
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;

export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** How long, how many bytes, which pause; or that it cannot be done so, and what else could. Pure. */
export function forecastLive(facts: ForecastFacts): Forecast {
  const { bandwidth, overhead, diskBytes, policy, dirty, residentBytes, maximumPauseMs } = facts;
  const rate = dirty?.value ?? 0;
  const diskMs = (diskBytes / bandwidth.value) * 1000;
  const plain = simulate(facts, rate);
  const carried = plain.converges ? plain : byPolicy(facts, plain, policy);
  const pauseMs = leastOf(facts) + (carried.left / bandwidth.value) * 1000;
  const converges = plain.converges || (policy === "auto-converge" && carried.converges) || policy === "post-copy";
  const done = converges || policy === "suspend-at-last";
  const totalMs = overhead.value + diskMs + carried.ms + pauseMs;
  const bytes = Math.round(diskBytes + carried.bytes + carried.left);
  return {
    totalMs: Math.round(totalMs),
    pauseMs: Math.round(policy === "post-copy" && !plain.converges ? leastOf(facts) * 2 : pauseMs),
    ...(facts.switchover && { switchoverMs: Math.round(facts.switchover.value) }),
    bytes,
    firstBytes: residentBytes,
    diskBytes,
    rounds: carried.rounds,
    converges,
    ...(dirty && { dirtyBytesPerSecond: Math.round(dirty.value) }),
    bandwidthBytesPerSecond: Math.round(bandwidth.value),
    overheadMs: Math.round(overhead.value),
    text: done
      ? `about ${span(totalMs)} and ${mib(bytes)}, a pause of about ${span(pauseMs)}${plain.converges ? "" : ` (${policy})`}`
      : `cannot be done within a pause of ${span(maximumPauseMs)}: it changes ${mib(rate)}/s, and ${mib(bandwidth.value)}/s can be sent`,
    reasons: [
      `${mib(residentBytes)} of memory to send${diskBytes > 0 ? `, and ${mib(diskBytes)} of disks` : ""}`,
      `${mib(bandwidth.value)}/s: ${bandwidth.text}`,
      dirty === undefined
        ? "nobody has measured yet how fast it changes memory: taken as not at all"
        : `it changes ${mib(rate)}/s: ${dirty.text}`,
      `${span(overhead.value)} besides: ${overhead.text}`,
      ...(facts.switchover ? [`${span(facts.switchover.value)} of the pause pass anyway: ${facts.switchover.text}`] : []),
    ],
    options: done ? [] : optionsOf(facts, plain),
  };
}

function byPolicy(facts: ForecastFacts, plain: Rounds, policy: PausePolicy): Rounds {
  const { residentBytes, bandwidth, dirty } = facts;
  const rate = dirty?.value ?? 0;
  if (policy === "auto-converge") return { ...plain, ...throttled(facts) };
  if (policy === "post-copy") {
    // Once through, then the rest page by page, on demand.
    const rest = Math.min(residentBytes, (rate * residentBytes) / bandwidth.value);
    return { ...plain, bytes: residentBytes + rest, ms: ((residentBytes + rest) / bandwidth.value) * 1000, left: 0, rounds: 1 };
  }
  return plain;
}

/** The hypervisor's throttle stops so much of the guest's work, and with it of its changes. */
function throttled(facts: ForecastFacts): Rounds {
  const rate = facts.dirty?.value ?? 0;
  return simulate(facts, rate * (1 - maximumThrottlePercent / 100));
}

function optionsOf(facts: ForecastFacts, plain: Rounds): ForecastOption[] {
  const { overhead, bandwidth, residentBytes, diskBytes } = facts;
  const base = overhead.value + (diskBytes / bandwidth.value) * 1000;
  const rest = leastOf(facts) + (plain.left / bandwidth.value) * 1000;
  const slowed = throttled(facts);
  const copied = byPolicy(facts, plain, "post-copy");
  const whole = (residentBytes / bandwidth.value) * 1000;
  const options: ForecastOption[] = [
    option("raise-pause", rest, base + plain.ms + rest, `allow a pause of ${span(rest)} (--max-pause ${Math.ceil(rest)})`),
    option("suspend-at-last", rest, base + plain.ms + rest, `pause it at last for about ${span(rest)} (--policy suspend-at-last)`),
  ];
  if (slowed.converges) {
    const pause = leastOf(facts) + (slowed.left / bandwidth.value) * 1000;
    options.push(
      option(
        "auto-converge",
        pause,
        base + slowed.ms + pause,
        `slow the guest by up to ${maximumThrottlePercent} % meanwhile (--policy auto-converge)`,
      ),
    );
  }
  options.push(
    option(
      "post-copy",
      leastOf(facts) * 2,
      base + copied.ms,
      "let it go on there while its memory follows; a lost link would end it (--policy post-copy)",
    ),
    option(
      "quick",
      overhead.value + whole * 2,
      overhead.value + whole * 2,
      `save it, and go on there: it stands still for about ${span(overhead.value + whole * 2)} (--kind quick)`,
    ),
  );
  return options;
}

function option(name: ForecastOption["option"], pauseMs: number, totalMs: number, text: string): ForecastOption {
  return { option: name, pauseMs: Math.round(pauseMs), totalMs: Math.round(totalMs), text };
}

/** Bytes, milliseconds. */
export interface StandstillFacts {
  readonly kind: "quick" | "cold";
  /** Memory that is written and read again; 0 of a VM that is off. */
  readonly residentBytes: number;
  /** Files that are copied: disks, and memory that is not on shared storage. */
  readonly copyBytes: number;
  /** The network that they go over; absent: through the server. */
  readonly over?: string | undefined;
  /** Of past moves of this kind: what they took, over what the rule had said. */
  readonly ratio?: Estimate | undefined;
}

/** The rule: what defining and starting takes, and what a page cache and a stream through the server carry, per second. */
const standstillRule = { fixedMs: 1000, stateBytesPerSecond: 300 * 2 ** 20, streamBytesPerSecond: 50 * 2 ** 20 } as const;

/** The same for a VM that stands still meanwhile: for a quick move all of it is the pause. Pure. */
export function forecastStandstill({ kind, residentBytes, copyBytes, over, ratio }: StandstillFacts): Forecast {
  const { fixedMs, stateBytesPerSecond, streamBytesPerSecond } = standstillRule;
  // Copied files are read back as well.
  const ruleMs = fixedMs + ((2 * residentBytes) / stateBytesPerSecond + (2 * copyBytes) / streamBytesPerSecond) * 1000;
  const totalMs = Math.round(ruleMs * (ratio?.value ?? 1));
  const still = kind === "quick" ? ", during which it stands still" : "";
  return {
    totalMs,
    ruleMs: Math.round(ruleMs),
    pauseMs: kind === "quick" ? totalMs : 0,
    bytes: copyBytes,
    rounds: 0,
    converges: true,
    bandwidthBytesPerSecond: Math.round(streamBytesPerSecond / (ratio?.value ?? 1)),
    text: `about ${span(totalMs)}${still}, and ${mib(copyBytes)} ${copyBytes > 0 && over !== undefined ? `over ${over}` : "through the server"}`,
    reasons: [
      ...(residentBytes > 0 ? [`${mib(residentBytes)} of memory to write and read`] : []),
      `${mib(copyBytes)} to copy and read back`,
      ratio === undefined ? "as a rule, until such moves were seen" : ratio.text,
    ],
    options: [],
  };
}
