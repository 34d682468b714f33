import { readFileSync } from "node:fs";
import {
  parseCapabilities,
  parseDomain,
  parseDomainCapabilities,
  parsePool,
  parseVolume,
  XmlError,
} from "../src/adapters/libvirt/xml/index.ts";

const fixtures = new URL("../test/adapters/libvirt/fixtures/", import.meta.url);
const parsers = [
  ["linux-running.xml", parseDomain],
  ["windows-off.xml", parseDomain],
  ["network-disks-off.xml", parseDomain],
  ["capabilities.xml", parseCapabilities],
  ["domain-capabilities.xml", parseDomainCapabilities],
  ["pool-dir.xml", parsePool],
  ["volume-qcow2.xml", parseVolume],
] as const;
const scraps = [
  "<",
  ">",
  "'",
  "&amp;",
  "&#x0;",
  "&#x110000;",
  "<disk>",
  "</disk>",
  "<disk/>",
  "<__proto__/>",
  "constructor='1'",
  "]]>",
  "<![CDATA[",
  "<!--",
  "<?",
  "\u0000",
  "9".repeat(30),
];

/** Mulberry32: small, seeded, good enough to pick places. */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function pick<T>(list: readonly T[], random: (below: number) => number): T {
  return list.at(random(list.length)) as T;
}

function mutate(text: string, random: (below: number) => number): string {
  let out = text;
  for (let edits = 1 + random(4); edits > 0; edits -= 1) {
    const at = random(out.length + 1);
    const span = random(2) === 0 ? random(12) : random(out.length + 1);
    const choice = random(4);
    if (choice === 0) out = out.slice(0, at) + out.slice(at + span);
    else if (choice === 1) out = out.slice(0, at) + pick(scraps, random) + out.slice(at);
    else if (choice === 2) out = out.slice(0, at) + String.fromCharCode(32 + random(96)) + out.slice(at + 1);
    else if (out.length < 100_000) out = out.slice(0, at) + out.slice(at, at + span) + out.slice(at);
  }
  return out;
}

/** Damaged documents of libvirt are read or refused with `XmlError`: nothing else is thrown, and no call takes long. */
export default async function fuzz({ seconds, seed }: { readonly seconds: number; readonly seed: number }): Promise<{ cases: number }> {
  const random = randomOf(seed);
  const texts = parsers.map(([file, parse]) => ({ text: readFileSync(new URL(file, fixtures), "utf8"), parse, file }));
  const end = performance.now() + seconds * 1000;
  let cases = 0;
  for (; performance.now() < end; cases += 1) {
    const { text, parse, file } = pick(texts, random);
    const damaged = mutate(text, random);
    const started = performance.now();
    try {
      parse(damaged);
    } catch (error) {
      if (!(error instanceof XmlError))
        throw new Error(`case ${cases} (${file}), seed ${seed}: ${JSON.stringify(damaged.slice(0, 2000))}`, { cause: error });
    }
    if (performance.now() - started > 2000) throw new Error(`case ${cases} (${file}), seed ${seed}: took more than 2 s`);
  }
  return { cases };
}
