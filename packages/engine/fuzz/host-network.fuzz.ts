import { EngineError } from "../src/model/errors.ts";
import { parseCounters } from "../src/network/parse-counters.ts";
import { parseHostNetwork } from "../src/network/parse-facts.ts";
import { parseProbeOutput } from "../src/network/parse-probe.ts";
import { countersText, factsText, probeDestinations, probeText } from "../test/network/facts-text.ts";

const pieces = [
  "@@ links",
  "@@ end",
  "\n",
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  "null",
  "-1",
  "1e309",
  "99999999999999999999",
  "dev ",
  "via ",
  "lladdr ",
  "::",
  "/",
  "\u0000",
  "é",
  "\ud800",
  "__proto__",
  " ",
];
const targets: readonly (readonly [text: string, parse: (text: string) => unknown])[] = [
  [factsText, parseHostNetwork],
  [probeText, (text) => parseProbeOutput(text, probeDestinations)],
  [countersText, parseCounters],
];

/** What a hostile host may print: damaged copies of real output. Nothing but an `EngineError` may be thrown. */
export async function fuzz({ seconds, seed }: { seconds: number; seed: number }): Promise<{ cases: number }> {
  const random = generator(seed);
  const until = performance.now() + seconds * 1000;
  let cases = 0;
  for (; performance.now() < until; cases += 1) {
    const [text, parse] = targets.at(random(targets.length))!;
    attempt(damage(text, random), parse);
  }
  return { cases };
}
export default fuzz;

function damage(text: string, random: (below: number) => number): string {
  let damaged = text;
  for (let times = random(4) + 1; times > 0; times -= 1) {
    const at = random(damaged.length + 1);
    const length = random(3) === 0 ? random(200) : random(4);
    const put =
      random(4) === 0
        ? damaged.slice(random(damaged.length + 1)).slice(0, random(300))
        : pieces.at(random(pieces.length))!.repeat(random(20) === 0 ? 500 : 1);
    damaged = damaged.slice(0, at) + put + damaged.slice(at + length);
  }
  return damaged;
}

function attempt(text: string, parse: (text: string) => unknown): void {
  try {
    parse(text);
  } catch (error) {
    if (!(error instanceof EngineError)) throw new Error(`case ${JSON.stringify(text)}`, { cause: error });
  }
}

/** xorshift32 */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
