import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type ForecastFacts, forecastLive, forecastStandstill } from "../../src/migration/forecast.ts";
import { contentionOf, onTheirOwn, withCrowds } from "../../src/migration/crowd.ts";
import { learn, type PastLiveMove, pastMoveOf, pathOf, sentShare, standstillRatio, switchoverOf } from "../../src/migration/history.ts";

const mib = 2 ** 20;
const facts: ForecastFacts = {
  residentBytes: 2048 * mib,
  dirty: { value: 20 * mib, text: "measured for 1 s" },
  bandwidth: { value: 1024 * mib, text: "as the last 5 moves over this network" },
  overhead: { value: 600, text: "as the last 5 moves over this network" },
  diskBytes: 0,
  maximumPauseMs: 300,
  policy: "strict",
};
const busy = { value: 2000 * mib, text: "measured for 1 s" };

const anyFacts: fc.Arbitrary<ForecastFacts> = fc
  .record({
    residentBytes: fc.integer({ min: 1, max: 64 * 1024 }).map((n) => n * mib),
    rate: fc.integer({ min: 0, max: 8192 }).map((n) => n * mib),
    bandwidth: fc.integer({ min: 1, max: 4096 }).map((n) => n * mib),
    diskBytes: fc.integer({ min: 0, max: 1024 }).map((n) => n * mib),
    overhead: fc.integer({ min: 0, max: 5000 }),
    maximumPauseMs: fc.integer({ min: 1, max: 5000 }),
    policy: fc.constantFrom("strict" as const, "auto-converge" as const, "post-copy" as const, "suspend-at-last" as const),
  })
  .map(({ rate, bandwidth, overhead, ...rest }) => ({
    ...rest,
    dirty: { value: rate, text: "" },
    bandwidth: { value: bandwidth, text: "" },
    overhead: { value: overhead, text: "" },
  }));

describe("the forecast of a live migration", () => {
  it("says how long, how many bytes and which pause", () => {
    const forecast = forecastLive(facts);
    assert.equal(forecast.text, "about 2.7 s and 2088 MiB, a pause of about 59 ms");
    assert.deepEqual(forecast.reasons, [
      "2048 MiB of memory to send",
      "1024 MiB/s: as the last 5 moves over this network",
      "it changes 20 MiB/s: measured for 1 s",
      "600 ms besides: as the last 5 moves over this network",
    ]);
    assert.deepEqual([forecast.converges, forecast.options], [true, []]);
  });

  it("says that it cannot be done within the pause, and what each other way would cost", () => {
    const forecast = forecastLive({ ...facts, dirty: busy });
    assert.equal(forecast.converges, false);
    assert.equal(forecast.text, "cannot be done within a pause of 300 ms: it changes 2000 MiB/s, and 1024 MiB/s can be sent");
    assert.deepEqual(
      forecast.options.map(({ option, text }) => `${option}: ${text}`),
      [
        "raise-pause: allow a pause of 2.0 s (--max-pause 2020)",
        "suspend-at-last: pause it at last for about 2.0 s (--policy suspend-at-last)",
        "auto-converge: slow the guest by up to 80 % meanwhile (--policy auto-converge)",
        "post-copy: let it go on there while its memory follows; a lost link would end it (--policy post-copy)",
        "quick: save it, and go on there: it stands still for about 4.6 s (--kind quick)",
      ],
    );
  });

  it("counts the disks, and says when nobody has measured", () => {
    const { dirty: _, ...unmeasured } = facts;
    const forecast = forecastLive({ ...unmeasured, diskBytes: 1024 * mib });
    assert.equal(forecast.text, "about 3.6 s and 3072 MiB, a pause of about 20 ms");
    assert.match(forecast.reasons.join("\n"), /and 1024 MiB of disks\n.*\nnobody has measured yet/);
  });

  it("does it within the promise when the policy makes it so, and says by which", () => {
    assert.match(forecastLive({ ...facts, dirty: busy, policy: "post-copy" }).text, /^about .*\(post-copy\)$/);
    assert.match(forecastLive({ ...facts, dirty: busy, policy: "auto-converge" }).text, /^about .*\(auto-converge\)$/);
    const suspended = forecastLive({ ...facts, dirty: busy, policy: "suspend-at-last" });
    assert.match(suspended.text, /^about .* a pause of about 2.0 s \(suspend-at-last\)$/);
    assert.equal(suspended.converges, false, "the promise is not held so");
  });

  it("is finite and never below what must be sent; a promise that is said to be held is held", () => {
    fc.assert(
      fc.property(anyFacts, (any) => {
        const { totalMs, pauseMs, bytes, converges, options } = forecastLive(any);
        for (const figure of [totalMs, pauseMs, bytes]) assert.ok(Number.isFinite(figure) && figure >= 0);
        assert.ok(bytes >= any.residentBytes + any.diskBytes);
        assert.ok(totalMs + 1 >= any.overhead.value + (bytes / any.bandwidth.value) * 1000 * 0.999);
        if (converges && any.policy === "strict") assert.ok(pauseMs <= any.maximumPauseMs + 21, `${pauseMs} of ${any.maximumPauseMs}`);
        if (options.length > 0) assert.ok(!converges && (any.policy === "strict" || any.policy === "auto-converge"));
      }),
    );
  });

  it("takes no less time on a slower path, nor for a busier guest", () => {
    fc.assert(
      fc.property(anyFacts, fc.integer({ min: 2, max: 10 }), (any, factor) => {
        const of = (change: Partial<ForecastFacts>) => forecastLive({ ...any, policy: "strict", ...change });
        const slower = of({ bandwidth: { value: any.bandwidth.value / factor, text: "" } });
        const idle = of({ dirty: { value: 0, text: "" } });
        const as = of({});
        if (as.converges && slower.converges) assert.ok(slower.totalMs >= as.totalMs);
        assert.ok(idle.converges && idle.totalMs <= as.totalMs);
      }),
    );
  });
});

describe("the forecast of a move that stands still", () => {
  const quick = { kind: "quick" as const, residentBytes: 300 * mib, copyBytes: 0 };

  it("says how long it stands still, and what goes through the server", () => {
    const forecast = forecastStandstill(quick);
    assert.equal(forecast.text, "about 3.0 s, during which it stands still, and 0.0 MiB through the server");
    assert.equal(forecast.pauseMs, forecast.totalMs);
    const cold = forecastStandstill({ kind: "cold", residentBytes: 0, copyBytes: 1000 * mib });
    assert.equal(cold.text, "about 41.0 s, and 1000 MiB through the server");
    assert.equal(cold.pauseMs, 0);
  });

  it("is corrected by what such moves took, over what the rule had said", () => {
    const past = (kind: string, totalMs: number) => pastMoveOf({}, { kind, totalMs, forecast: { ruleMs: 1000 } }) ?? [];
    const history = [past("quick", 2000), past("quick", 3000), past("quick", 100_000), past("cold", 500)].flat();
    assert.equal(forecastStandstill({ ...quick, ratio: standstillRatio(history, "quick") }).totalMs, 9000);
    assert.equal(standstillRatio(history, "cold")?.value, 0.5);
    assert.equal(standstillRatio([], "cold"), undefined);
    assert.equal(pastMoveOf({}, { kind: "quick", totalMs: 5 }), undefined);
  });
});

describe("what past moves teach", () => {
  const move = (bytes: number, sendMs: number, more: Partial<PastLiveMove> = {}): PastLiveMove => ({
    kind: "live",
    vmId: "v",
    networkId: "n",
    bytes,
    sendMs,
    otherMs: 500,
    endedAt: "2026-01-01T00:00:00Z",
    ...more,
  });

  it("tells time that is spent anyway from time that is spent on bytes, and single odd moves do not count", () => {
    const at = (size: number): PastLiveMove => move(size * mib, 200 + (size / 100) * 1000);
    const { bandwidth, overhead } = learn([at(100), at(200), at(300), at(400), move(250 * mib, 60_000)]) ?? assert.fail();
    assert.ok(Math.abs(bandwidth.value / mib - 100) < 5, `${bandwidth.value / mib} MiB/s`);
    assert.ok(Math.abs(overhead.value - 700) < 50, `${overhead.value} ms`);
  });

  it("is of some use after one move, and is positive whatever the moves were", () => {
    assert.equal(Math.round((learn([move(100 * mib, 1000)])?.bandwidth.value ?? 0) / mib), 100);
    const any = fc.record({ bytes: fc.nat(2 ** 40), sendMs: fc.nat(1e6), otherMs: fc.nat(1e6) });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), (moves) => {
        const learned = learn(moves.map(({ bytes, sendMs, otherMs }) => move(bytes, sendMs, { otherMs })));
        if (!learned) return;
        assert.ok(learned.bandwidth.value > 0 && Number.isFinite(learned.bandwidth.value));
        assert.ok(learned.overhead.value >= 0 && Number.isFinite(learned.overhead.value));
      }),
    );
  });

  it("says how much of a guest's memory is sent: as in its own last move, else as in the middle one of all", () => {
    const moves = [move(1, 1, { sentShare: 0.3 }), move(1, 1, { sentShare: 0.9 }), move(1, 1, { vmId: "other", sentShare: 0.5 })];
    assert.equal(sentShare(moves, "v"), 0.3);
    assert.equal(sentShare(moves, "new"), 0.5);
    assert.equal(sentShare([], "v"), 1);
    const result = {
      vmId: "v",
      networkId: "n",
      endedAt: "",
      kind: "live",
      memoryBytes: 50,
      sendMs: 3,
      totalMs: 9,
      forecast: { residentBytes: 200 },
    };
    const past = pastMoveOf({}, result);
    assert.equal(past?.kind === "live" && past.sentShare, 0.25);
  });

  it("is not told by moves that a server's death interrupted: nobody counted, and the time without a server is in theirs", () => {
    const result = {
      vmId: "v",
      networkId: "n",
      endedAt: "",
      kind: "live",
      memoryBytes: 0,
      sendMs: 3,
      totalMs: 9e6,
      forecast: { residentBytes: 1 },
    };
    assert.equal(pastMoveOf({}, result, 2), undefined);
    assert.equal(pastMoveOf({}, { kind: "cold", totalMs: 9e6, forecast: { ruleMs: 1000 } }, 2), undefined);
  });

  it("counts of disks what was allocated, and of memory what was not sent again", () => {
    const result = { vmId: "v", networkId: "n", startedAt: "s", endedAt: "", kind: "live", memoryBytes: 120, sendMs: 3, totalMs: 9 };
    const forecast = { residentBytes: 200, firstBytes: 100, bytes: 150, diskBytes: 0 };
    const busy = pastMoveOf({ sourceId: "a", destinationId: "b" }, { ...result, forecast });
    assert.deepEqual(busy, move(120, 3, { otherMs: 6, endedAt: "", startedAt: "s", sourceId: "a", destinationId: "b", sentShare: 0.4 }));
    const disks = { ...forecast, bytes: 110, diskBytes: 10 };
    const copied = pastMoveOf({}, { ...result, kind: "shared-nothing", diskBytes: 500, forecast: disks });
    assert.deepEqual(copied?.kind === "live" && [copied.bytes, copied.copies, copied.sentShare], [130, true, 0.6]);
  });

  it("is told by moves between the same hosts, if there were any, and by moves that took disks for one that does", () => {
    const fast = [100, 200, 300].map((size) => move(size * mib, size * 10, { sourceId: "a", destinationId: "b" }));
    const slow = [move(100 * mib, 10_000, { sourceId: "c", destinationId: "a" })];
    const disk = move(100 * mib, 5_000, { sourceId: "a", destinationId: "b", copies: true, otherMs: 3000 });
    const disks = [disk, disk];
    const path = (ends: [string, string], copies = false) => pathOf([...slow, ...disks, ...fast], { network: "lan", ends, copies });
    const said = (ends: [string, string], copies?: boolean): string => {
      const { bandwidth, overhead } = path(ends, copies);
      return `${Math.round(bandwidth.value / mib)} MiB/s, ${Math.round(overhead.value)} ms, ${bandwidth.text}`;
    };
    assert.equal(said(["a", "b"]), "100 MiB/s, 500 ms, as the last 3 moves between these hosts");
    assert.equal(said(["a", "c"]), "10 MiB/s, 500 ms, as the last move between these hosts");
    assert.equal(said(["b", "c"]), "100 MiB/s, 500 ms, as the last 4 moves over this network");
    assert.equal(said(["b", "a"], true), "20 MiB/s, 3000 ms, as the last 2 moves between these hosts with disks");
  });

  it("tells how moves at the same time hold each other up, and what each would have taken on its own", () => {
    const at = (from: number, to: number, sourceId = "a"): PastLiveMove =>
      move(100 * mib, to - from - 500, {
        sourceId,
        destinationId: "b",
        startedAt: new Date(from).toISOString(),
        endedAt: new Date(to).toISOString(),
      });
    const moves = [at(0, 1000), at(2000, 3500), at(2000, 3500), at(10_000, 11_000), at(20_000, 21_000), at(20_000, 21_000, "x")];
    const counted = withCrowds(moves);
    assert.deepEqual(
      counted.map(({ crowd }) => crowd),
      [0, 1, 1, 0, 1, 1],
    );
    const elsewhere = withCrowds([at(0, 1000), { ...at(0, 1000, "x"), destinationId: "y" }]);
    assert.deepEqual(
      elsewhere.map(({ crowd }) => crowd),
      [0, 0],
    );
    assert.equal(contentionOf(withCrowds(moves.slice(0, 4))), 0.5);
    const took = onTheirOwn(moves.slice(0, 4)).map(({ sendMs, otherMs }) => Math.round(sendMs + otherMs));
    assert.deepEqual(took, [1000, 1000, 1000, 1000]);
    assert.equal(contentionOf(counted.slice(1, 3)), 0.3, "nobody knows what they would have taken");
  });

  it("knows what of a pause passes anyway between two hosts, by the shorter ones of their last pauses", () => {
    const between = (pauseMs: number | undefined, destinationId = "b"): PastLiveMove =>
      move(100 * mib, 100, { sourceId: "a", destinationId, ...(pauseMs !== undefined && { pauseMs }) });
    const moves = [between(300), between(90), between(undefined), between(10, "c"), between(80), between(250), between(100)];
    assert.equal(switchoverOf(moves, ["b", "a"])?.value, 90, "whichever way round, and no other pair's");
    assert.equal(switchoverOf(moves, ["a", "d"]), undefined);
    const slow = { ...facts, dirty: { value: 200 * mib, text: "" }, bandwidth: { value: 400 * mib, text: "" } };
    const told = forecastLive({ ...slow, switchover: { value: 90, text: "as before" } });
    assert.ok(told.pauseMs >= 90 && told.pauseMs <= 300, `${told.pauseMs}`);
    assert.deepEqual([told.switchoverMs, forecastLive(slow).switchoverMs], [90, undefined]);
    assert.match(told.reasons.at(-1) ?? "", /90 ms of the pause pass anyway: as before/);
  });

  it("without any, is the speed of the slower interface; a limit holds for both", () => {
    assert.equal(pathOf([], { network: "lan", speedMbps: 10_000 }).bandwidth.value, 1.125e9);
    assert.match(pathOf([], { network: "lan" }).bandwidth.text, /no move over lan was seen/);
    const limited = pathOf([move(100 * mib, 100)], { network: "lan", limitBytesPerSecond: 5e6 }).bandwidth;
    assert.deepEqual([limited.value, limited.text], [5e6, "the limit that was asked for"]);
  });

  it("leaves out what was no live move, was slowed on purpose, or says nothing", () => {
    const result = {
      vmId: "v",
      networkId: "n",
      endedAt: "2026-01-01T00:00:00Z",
      kind: "live",
      memoryBytes: 5,
      diskBytes: 2,
      sendMs: 3,
      totalMs: 9,
    };
    assert.deepEqual(pastMoveOf({}, result), move(7, 3, { otherMs: 6, copies: true }));
    assert.equal(pastMoveOf({ bandwidthBytesPerSecond: 1 }, result), undefined);
    for (const wrong of [
      undefined,
      null,
      5,
      {},
      { ...result, kind: "cold" },
      { ...result, sendMs: "3" },
      { ...result, networkId: undefined },
    ])
      assert.equal(pastMoveOf({}, wrong), undefined);
  });
});
