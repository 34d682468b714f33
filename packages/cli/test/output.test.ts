import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Job } from "@godwit/api";
import { Command } from "commander";
import { print } from "../src/context.ts";
import { runProgram } from "../src/root.ts";
import { displayWidth, printable, renderFields, renderTable } from "../src/output/table.ts";
import { formatBytes, formatDuration } from "../src/output/units.ts";
import { ProgressDisplay, progressText } from "../src/progress.ts";

describe("a table", () => {
  it("aligns its columns, also with wide and combining characters", () => {
    const rows = [
      { name: "web", size: 5 },
      { name: "データ", size: 12345 },
      { name: "e\u0301", size: undefined },
    ];
    const text = renderTable<(typeof rows)[number]>(
      [
        { title: "NAME", value: (row) => row.name },
        { title: "SIZE", value: (row) => row.size, align: "right" },
      ],
      rows,
    );
    assert.equal(text, "NAME     SIZE\nweb         5\nデータ  12345\ne\u0301           -\n");
  });

  it("lets no name move the cursor or colour the terminal", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        (text) => !/\p{Cc}/u.test(renderTable([{ title: "X", value: () => text }], [0]).replaceAll("\n", "")),
      ),
    );
    assert.equal(printable("a\u001b[31mb\r"), "a�[31mb�");
  });

  it("is as safe where it is more than columns, in errors, and in JSON, which keeps all of it", async () => {
    const hostile = "x\u001b[2J\u009b31m\r";
    const written: string[] = [];
    const out = { write: (text: string) => void written.push(text), isTerminal: true, columns: 80 };
    for (const format of ["table", "json", "yaml"] as const) print({ format, out }, { name: hostile }, () => `log:\n  ${hostile}\n`);
    const program = new Command().exitOverride().action(() => Promise.reject(new Error(`the guest said ${hostile}`)));
    await runProgram(program, [], { err: out });
    const job = { title: hostile, state: "running", progress: { phase: hostile } } as Job;
    new ProgressDisplay({ ...out, isTerminal: false }).show(job);
    for (const text of written) assert.doesNotMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
    assert.equal(written[0], "log:\n  x�[2J�31m�\n");
    assert.deepEqual(JSON.parse(written[1] ?? ""), { name: hostile });
  });

  it("leaves out fields that are not there", () => {
    assert.equal(
      renderFields([
        ["a", 1],
        ["longer", undefined],
        ["bc", false],
      ]),
      "a:  1\nbc: false\n",
    );
  });

  it("counts the columns that a text takes", () => {
    assert.equal(displayWidth("a漢e\u0301🦆"), 1 + 2 + 1 + 2);
  });
});

describe("units", () => {
  it("are binary for bytes and words for durations", () => {
    assert.deepEqual([0, 1023, 1536, 110_376_513, 5 * 2 ** 40].map(formatBytes), ["0 B", "1023 B", "1.5 KiB", "105 MiB", "5.0 TiB"]);
    assert.deepEqual([85.4, 1544, 200_000, 7_500_000].map(formatDuration), ["85 ms", "1.5 s", "3 min 20 s", "2 h 5 min"]);
  });
});

describe("progress", () => {
  const job: Job = {
    id: "j",
    kind: "vm.migrate",
    title: "migrate web from alpha to bravo",
    subject: { type: "vm", id: "v", name: "web" },
    state: "running",
    createdAt: "2026-01-01T00:00:00Z",
    waitingFor: [],
    steps: [],
    reasons: [],
    log: [],
    input: {},
    progress: {
      phase: "copying memory over migration, round 2",
      fraction: 0.5,
      memoryRemainingBytes: 2 ** 20,
      bytesPerSecond: 2 ** 21,
      remainingSeconds: 0.5,
    },
  };
  const shown = (isTerminal: boolean, ...jobs: readonly Job[]): string => {
    let text = "";
    const display = new ProgressDisplay({ isTerminal, columns: 200, write: (part) => void (text += part) });
    for (const one of jobs) display.show(one);
    display.done();
    return text;
  };

  it("is a bar that is rewritten on a terminal", () => {
    assert.equal(
      shown(true, job),
      "\r\u001b[2K[████████████░░░░░░░░░░░░]  50 % copying memory over migration, round 2, memory left 1.0 MiB, 2.0 MiB/s, 500 ms to go\r\u001b[2K",
    );
  });

  it("is a line for each phase elsewhere, each said once", () => {
    assert.equal(shown(false, job, job), "migrate web from alpha to bravo: copying memory over migration, round 2\n");
  });

  it("says what a queued job waits for", () => {
    assert.equal(
      progressText({ ...job, state: "queued", waitingFor: [{ code: "slot", text: "2 of 2 live migrations on alpha" }] }),
      "queued: 2 of 2 live migrations on alpha",
    );
  });
});
