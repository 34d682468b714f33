import { VaultError } from "../src/errors.ts";
import { hasPoint, parseDoom, parseMark, parseSession, parseWait, pointsText } from "../src/format/gc.ts";
import { holdToJson, parseHold } from "../src/format/hold.ts";
import { feed } from "./support.ts";

const pack = `data/0123456789abcdef0000/${"ab".repeat(16)}`;
const ids = ["0f".repeat(16), "1e".repeat(16), "f0".repeat(16)];
const text = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const samples = {
  mark: text({
    packs: [
      { pack, to: [pack] },
      { pack, to: [] },
    ],
    points: pointsText(ids),
    time: "2026-11-24T00:00:00.000Z",
  }),
  wait: text({ sessions: ["0123456789abcdef", "fedcba9876543210"] }),
  doom: text({ packs: [pack] }),
  session: text({ name: "web1", started: "2026-11-24T00:00:00.000Z", point: ids[0] }),
  hold: text(holdToJson({ point: ids[0]!, kind: "lock", until: 1e12, reason: "x", created: "2026-11-24T00:00:00.000Z" })),
};

function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as unknown;
  } catch (cause) {
    throw new VaultError("corrupt", "no JSON", {}, { cause });
  }
}

/** Marks, waits, dooms, sessions and holds: what is accepted names packs and sessions, and nothing else that could be deleted. */
export default async function fuzz(options: { seconds: number; seed: number }): Promise<{ cases: number }> {
  const share = { ...options, seconds: options.seconds / 5 };
  const isPack = (name: string): boolean => /^(?:data|tree)\/[0-9a-f]{20}\/[0-9a-f]{32}$/.test(name);
  const runs = [
    await feed(share, [samples.mark], (bytes) => {
      const { packs, points } = parseMark(json(bytes), "mark");
      if (!packs.every((one) => isPack(one.pack) && one.to.every(isPack))) throw new Error("something else than a pack is condemned");
      hasPoint(points, ids[1]!);
    }),
    await feed(share, [samples.wait], (bytes) => {
      if (!parseWait(json(bytes), "wait").every((session) => /^[0-9a-f]{16}$/.test(session))) throw new Error("no session");
    }),
    await feed(share, [samples.doom], (bytes) => {
      if (!parseDoom(json(bytes), "doom").every(isPack)) throw new Error("something else than a pack is doomed");
    }),
    await feed(share, [samples.session], (bytes) => parseSession(json(bytes), "session")),
    await feed(share, [samples.hold], (bytes) => parseHold(json(bytes), `hold/${ids[0]}/0123456789abcdef`)),
  ];
  return { cases: runs.reduce((sum, { cases }) => sum + cases, 0) };
}
