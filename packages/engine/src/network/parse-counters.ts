import { EngineError } from "../model/errors.ts";
import type { CounterReading, InterfaceCounters } from "./facts.ts";

const MAX_INTERFACES = 16_384;

/**
 * Reads `/proc/uptime`'s first number and then `/proc/net/dev` (linux, net/core/net-procfs.c): two lines of
 * heading, then `name: ` and 16 numbers, of which the first is bytes received and the ninth bytes sent.
 */
export function parseCounters(text: string): CounterReading {
  const [uptime = "", , , ...lines] = text.trimEnd().split("\n", MAX_INTERFACES + 4);
  if (!/^\d{1,12}(\.\d{1,6})?$/.test(uptime)) throw new EngineError("hypervisor", "the host's uptime is not a number");
  if (lines.length > MAX_INTERFACES) throw new EngineError("hypervisor", `the host lists more than ${MAX_INTERFACES} interfaces`);
  return { at: Math.round(Number(uptime) * 1000), interfaces: lines.map(parseLine) };
}

function parseLine(line: string): InterfaceCounters {
  const match = /^\s*(\S{1,31}):\s*(\d+(?:\s+\d+){8,31})\s*$/.exec(line);
  const numbers = match?.[2]?.split(/\s+/).map(Number);
  const [receivedBytes, sentBytes] = [numbers?.[0], numbers?.[8]];
  if (!match?.[1] || receivedBytes === undefined || sentBytes === undefined) {
    throw new EngineError("hypervisor", `the host's interface counters have an unreadable line: ${JSON.stringify(line.slice(0, 80))}`);
  }
  if (!Number.isSafeInteger(receivedBytes) || !Number.isSafeInteger(sentBytes)) {
    throw new EngineError("hypervisor", `the counters of interface ${match[1]} are beyond any real traffic`);
  }
  return { name: match[1], receivedBytes, sentBytes };
}
