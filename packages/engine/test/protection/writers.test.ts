import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judgeConsistency, judgeWriters, type WriterReport } from "../../src/index.ts";

describe("what a guest's own programs say of a freeze", () => {
  const running = { state: "running", agent: "connected" } as const;
  const freeze = (outcome: "held" | "broken", writers?: WriterReport["outcome"]): Parameters<typeof judgeConsistency>[1] => ({
    outcome,
    frozenMs: 5,
    fileSystems: 1,
    text: "frozen",
    ...(writers && { writers: { outcome: writers, text: "they say" } }),
  });

  it("makes a point application-consistent only when it was held and all of them were well", () => {
    assert.deepEqual(judgeConsistency(running, freeze("held", "well")), { level: "application", evidence: ["frozen", "they say"] });
    assert.deepEqual(judgeConsistency(running, freeze("held", "failed")), { level: "filesystem", evidence: ["frozen", "they say"] });
    assert.equal(judgeConsistency(running, freeze("held", "unknown")).level, "filesystem");
    assert.equal(judgeConsistency(running, freeze("held")).level, "filesystem");
    assert.equal(judgeConsistency(running, freeze("broken", "well")).level, "crash");
  });

  it("is read from VSS writers' states in any language", () => {
    const writer = (name: string, state: string): string =>
      `Verfassername: "${name}"\r\n   Status: ${state}\r\n   Letzter Fehler: Kein Fehler\r\n`;
    const well = writer("System Writer", "[1] Stabil") + writer("SqlServerWriter", "[5] Wartet auf Abschluss");
    assert.equal(judgeWriters(well).outcome, "well");
    assert.equal(judgeWriters(well + writer("NTDS", "[8] Fehler")).outcome, "failed");
    assert.equal(judgeWriters("Zugriff verweigert").outcome, "unknown");
  });
});
