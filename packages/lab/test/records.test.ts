import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Acknowledgement, parseAcknowledgements } from "../src/records/acknowledgements.ts";
import { blockSize, decodeBlock, encodeBlock, type GuestWrite } from "../src/records/format.ts";
import { verifyRecords } from "../src/records/verify.ts";

const run = "0e7aac46";

function record(number: number, slots: number): GuestWrite {
  return { number, run, uptime: 500 + number * 5, slots };
}

/** The file after records 1 to `last`, as the guest leaves it. */
function fileOf(last: number, slots: number): Buffer {
  const file = Buffer.alloc(Math.min(last, slots) * blockSize);
  for (let number = 1; number <= last; number += 1) put(file, record(number, slots));
  return file;
}

function put(file: Buffer, write: GuestWrite, place = (write.number - 1) % write.slots): void {
  encodeBlock(write).copy(file, place * blockSize);
}

function acks(from: number, to: number): Acknowledgement[] {
  return Array.from({ length: to - from + 1 }, (_, at) => ({ number: from + at, run, uptime: 0 }));
}

test("the guest's own bytes are understood", () => {
  // As scripts/guest-records.sh wrote it.
  const line = "godwit 000000000129 106bfad8 000000001595 3459911094 000064 end\n";
  const block = decodeBlock(Buffer.from(line.repeat(64)));
  assert.deepEqual(block, { kind: "record", record: { number: 129, run: "106bfad8", uptime: 1595, slots: 64 } });
});

test("an untouched disk is in order and has nothing", () => {
  const report = verifyRecords(Buffer.alloc(0));
  assert.deepEqual([report.ok, report.count, report.last], [true, 0, 0]);
});

test("a first lap and a later one are in order with all their acknowledgements", () => {
  for (const last of [1, 2, 15, 16, 17, 100]) {
    const report = verifyRecords(fileOf(last, 16), acks(1, last));
    assert.ok(report.ok, report.summary);
    assert.deepEqual([report.last, report.count, report.first], [last, Math.min(last, 16), Math.max(1, last - 15)]);
    assert.equal(report.acknowledged.overwritten, Math.max(0, last - 16));
  }
});

test("an acknowledged record that is not on the disk is lost, by its number", () => {
  assert.deepEqual(verifyRecords(fileOf(40, 64), acks(1, 43)).lost, [41, 42, 43]);
  assert.deepEqual(verifyRecords(Buffer.alloc(0), acks(1, 2)).lost, [1, 2]);
});

test("a write that came back as an older lap's is missing and lost", () => {
  const file = fileOf(40, 16);
  put(file, record(38 - 16, 16));
  const report = verifyRecords(file, acks(1, 40));
  assert.deepEqual([report.missing, report.lost, report.ok], [[38], [38], false]);
});

test("a hole is missing, also when nobody acknowledged it", () => {
  const file = fileOf(10, 16);
  file.fill(0, 3 * blockSize, 4 * blockSize);
  const report = verifyRecords(file);
  assert.deepEqual([report.missing, report.ok], [[4], false]);
});

test("a torn record is torn, at whatever sector", () => {
  for (let sector = 0; sector < 8; sector += 1) {
    const file = fileOf(20, 16);
    const old = encodeBlock(record(18 - 16, 16));
    old.copy(file, blockSize + sector * 512, sector * 512, (sector + 1) * 512);
    const report = verifyRecords(file, acks(1, 20));
    assert.deepEqual([report.torn, report.lost], [[18], [18]], `sector ${sector}`);
  }
});

test("only the record being written may be torn, and only while it is not acknowledged", () => {
  const file = fileOf(20, 16);
  file.fill("x", 4 * blockSize, 4 * blockSize + 512); // where 21 goes
  const report = verifyRecords(file, acks(1, 20));
  assert.deepEqual([report.ok, report.inFlight], [true, true]);
  const acknowledged = verifyRecords(file, acks(1, 21));
  assert.deepEqual([acknowledged.ok, acknowledged.torn, acknowledged.lost], [false, [21], [21]]);
});

test("a file that ends in the middle of the record being written is in order", () => {
  const file = Buffer.concat([fileOf(5, 16), encodeBlock(record(6, 16)).subarray(0, 1000)]);
  assert.equal(verifyRecords(file, acks(1, 5)).ok, true);
  assert.equal(verifyRecords(file, acks(1, 6)).ok, false);
});

test("garbage behind the first lap's end is torn", () => {
  const file = Buffer.concat([fileOf(5, 16), Buffer.alloc(blockSize), Buffer.alloc(blockSize, "x")]);
  assert.deepEqual(verifyRecords(file).torn, [7]);
});

test("a record in another's place is misplaced, and the other missing", () => {
  const file = fileOf(10, 16);
  put(file, record(9, 16), 2);
  const report = verifyRecords(file);
  assert.deepEqual([report.misplaced, report.missing, report.ok], [[9], [3], false]);
});

test("a record that another boot wrote again is lost to those who saw the first", () => {
  const file = fileOf(10, 16);
  put(file, { ...record(10, 16), run: "ffffffff" });
  const report = verifyRecords(file, acks(1, 10));
  assert.deepEqual([report.lost, report.runs], [[10], [run, "ffffffff"]]);
});

test("a wrong checksum is torn", () => {
  const block = encodeBlock(record(3, 16));
  assert.deepEqual(decodeBlock(Buffer.from(block.toString("latin1").replaceAll("000000000515", "000000000516"), "latin1")), {
    kind: "torn",
  });
});

test("any change of any record that was acknowledged is noticed, and none is invented", () => {
  const cases = fc.record({
    slots: fc.integer({ min: 2, max: 40 }),
    last: fc.integer({ min: 1, max: 100 }),
    damage: fc.option(fc.record({ back: fc.nat(39), at: fc.nat(blockSize - 1), byte: fc.integer({ min: 1, max: 255 }) }), {
      nil: undefined,
    }),
  });
  fc.assert(
    fc.property(cases, ({ slots, last, damage }) => {
      const file = fileOf(last, slots);
      assert.equal(verifyRecords(file, acks(1, last)).ok, true);
      if (!damage) return;
      // Not the oldest of a full ring: its damage looks like the next record being written.
      const number = last - (damage.back % Math.min(slots - 1, last));
      const at = ((number - 1) % slots) * blockSize + damage.at;
      file[at] = file[at]! ^ damage.byte;
      const report = verifyRecords(file, acks(1, last));
      assert.equal(report.ok, false);
      assert.deepEqual(report.lost, [number]);
    }),
    { numRuns: 200 },
  );
});

test("whatever the file holds, the verifier answers", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 3 * blockSize }), (file) => typeof verifyRecords(file, acks(1, 2)).ok === "boolean"));
});

test("acknowledgements are read in order, remarks apart, an unfinished line not at all", () => {
  const log = parseAcknowledgements(
    "# start 0e7aac46 0\n1 0e7aac46 500\n# error 2\n2 0e7aac46 511\n# start 11111111 2\n3 11111111 40\n4 1111",
  );
  assert.deepEqual(
    log.acknowledged.map((ack) => ack.number),
    [1, 2, 3],
  );
  assert.deepEqual(log.starts, [
    { run: "0e7aac46", after: 0 },
    { run: "11111111", after: 2 },
  ]);
  assert.deepEqual(log.writeErrors, [2]);
});
