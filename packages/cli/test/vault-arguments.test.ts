import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseChangeList } from "../src/commands/vault/changes.ts";
import { Meter } from "../src/commands/vault/meter.ts";
import { wishesOf } from "../src/commands/vault/sources.ts";
import { byteCount, date, span } from "../src/commands/vault/values.ts";
import { splitAssignment, splitPoint } from "../src/commands/vault/words.ts";
import { CliError } from "../src/exit.ts";

describe("a list of changes", () => {
  const entry = fc.record({ offset: fc.nat(1000), length: fc.nat(100), kind: fc.constantFrom("data", "zero") });

  it("is put in order without overlaps, and no data is lost or taken for zeros", () => {
    fc.assert(
      fc.property(fc.array(entry), (list) => {
        const extents = parseChangeList(list, "list");
        const kindAt = new Map<number, string>();
        let end = 0;
        for (const { offset, length, kind } of extents) {
          assert.ok(offset >= end && length > 0);
          end = offset + length;
          for (let at = offset; at < end; at += 1) kindAt.set(at, kind);
        }
        for (const { offset, length, kind } of list) {
          for (let at = offset; at < offset + length; at += 1) {
            assert.ok(kindAt.has(at));
            if (kind === "data") assert.equal(kindAt.get(at), "data");
          }
        }
      }),
    );
  });

  it("is refused with a reason when it is anything else", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          parseChangeList(value, "list");
        } catch (error) {
          assert.ok(error instanceof CliError);
        }
      }),
    );
    for (const bad of [[{ offset: -1, length: 1 }], [{ offset: 0.5, length: 1 }], [{ offset: 2 ** 53, length: 1 }], [{ length: 1 }], {}]) {
      assert.throws(() => parseChangeList(bad, "list"), /is no list of changes/);
    }
  });

  it("may come from qemu-img map, and leaves out what is clean", () => {
    const list = [
      { start: 0, length: 10, zero: true, data: false },
      { start: 20, length: 5, zero: false, data: true },
      { offset: 30, length: 5, dirty: false },
    ];
    assert.deepEqual(parseChangeList(list, "list"), [
      { offset: 0, length: 10, kind: "zero" },
      { offset: 20, length: 5, kind: "data" },
    ]);
  });
});

describe("words on the command line", () => {
  it("name a disk before an equals sign, unless that belongs to the path", () => {
    assert.deepEqual(splitAssignment("vda=/images/a=b.raw"), { name: "vda", value: "/images/a=b.raw" });
    for (const text of ["./a=b.raw", "/x/a=b", "nbd+unix:///?socket=/s"])
      assert.deepEqual(splitAssignment(text), { name: undefined, value: text });
    assert.deepEqual(splitPoint("web:1:vda"), { point: "web:1", disk: "vda" });
    for (const text of ["web", "web:", ":vda"]) assert.equal(splitPoint(text).disk, undefined);
  });

  it("join images with their lists of changes", () => {
    assert.deepEqual(wishesOf(["a.raw", "x=b.raw"], ["x=m.json"]), [
      { name: "disk0", image: "a.raw", map: undefined },
      { name: "x", image: "b.raw", map: "m.json" },
    ]);
    assert.deepEqual(wishesOf(["a.raw"], ["m.json"])[0]?.map, "m.json");
    assert.throws(() => wishesOf(["a.raw", "b.raw"], ["m.json"]), /say of which disk/);
    assert.throws(() => wishesOf(["a.raw"], ["y=m.json"]), /the disks are disk0/);
  });

  it("are sizes, spans and dates", () => {
    assert.deepEqual([byteCount("64K"), byteCount("1.5GiB"), byteCount("7")], [65_536, 1.5 * 2 ** 30, 7]);
    assert.deepEqual([span("90s"), span("2w")], [90_000, 1_209_600_000]);
    assert.equal(date("2027-03-31"), Date.UTC(2027, 2, 31));
    assert.equal(date("2027-03-31T12:00:00+02:00"), Date.UTC(2027, 2, 31, 10));
    for (const [parse, text] of [
      [byteCount, "much"],
      [span, "30"],
      [date, "tomorrow"],
      [date, "2027-13-01"],
    ] as const) {
      assert.throws(() => parse(text), /is needed/);
    }
  });
});

describe("the meter", () => {
  function metered(isTerminal: boolean): { meter: Meter; lines: string[]; pass: (ms: number) => void } {
    const lines: string[] = [];
    let now = 0;
    const terminal = { isTerminal, columns: 60, write: (text: string) => void lines.push(text) };
    return { meter: new Meter(terminal, () => now), lines, pass: (ms) => void (now += ms) };
  }

  it("rewrites one line on a terminal, cut to its width, and clears it", () => {
    const { meter, lines, pass } = metered(true);
    pass(1000);
    meter.show("vda", 512 << 20, 1 << 30, "a note that is too long for this terminal");
    assert.equal(lines[0], `\r\u001b[2K${"vda:  50 % 512 MiB of 1.0 GiB, 512 MiB/s, 1.0 s to go, a note".slice(0, 59)}`);
    meter[Symbol.dispose]();
    assert.equal(lines[1], "\r\u001b[2K");
  });

  it("writes a line every ten seconds elsewhere, and nothing for what is quick", () => {
    const { meter, lines, pass } = metered(false);
    for (let second = 0; second < 25; second += 1) {
      meter.show("vda", second << 20, 0);
      pass(1000);
    }
    meter[Symbol.dispose]();
    assert.deepEqual(lines, ["vda: 10.0 MiB, 1.0 MiB/s\n", "vda: 20.0 MiB, 1.0 MiB/s\n"]);
  });
});
