import type { Acknowledgement } from "./acknowledgements.ts";
import { blockSize, decodeBlock, type GuestWrite } from "./format.ts";

/** What a disk says about the records a guest wrote to it. Numbers are those of records. */
export interface RecordsReport {
  /** True: nothing acknowledged is missing, nothing is torn, misplaced or left out. */
  readonly ok: boolean;
  /** Whole records on the disk. */
  readonly count: number;
  /** The oldest and newest on the disk; 0 when there is none. */
  readonly first: number;
  readonly last: number;
  /** The guest's boots that wrote what is there, oldest first. */
  readonly runs: readonly string[];
  /** Below `last`, and no longer or never there. */
  readonly missing: readonly number[];
  /** Neither a whole record nor untouched; by the number that belongs there. */
  readonly torn: readonly number[];
  /** Whole, but in another's place. */
  readonly misplaced: readonly number[];
  /** Acknowledged, and not there as acknowledged. */
  readonly lost: readonly number[];
  /** Acknowledgements that were checked, and those whose place in the ring is used again by now. */
  readonly acknowledged: { readonly checked: number; readonly overwritten: number; readonly last: number };
  /** True: the newest record was being written when the disk was taken; that is no fault. */
  readonly inFlight: boolean;
  /** One line for people. */
  readonly summary: string;
}

/**
 * Checks the records file of a guest (`/data/records`) against itself, and against what the guest
 * acknowledged. For a disk of an earlier moment pass only what was acknowledged until then.
 */
export function verifyRecords(file: Uint8Array, acknowledgements: readonly Acknowledgement[] = []): RecordsReport {
  const ring = readRing(file);
  const acks = checkAcknowledgements(ring, acknowledgements);
  const { missing, torn, inFlight } = checkPlaces(ring, acks.lost);
  const numbers = ring.records.map((record) => record.number);
  const faults = { missing, torn, misplaced: ring.misplaced, lost: acks.lost };
  const ok = Object.values(faults).every((list) => list.length === 0);
  const report = {
    ok,
    count: numbers.length,
    first: numbers[0] ?? 0,
    last: ring.last,
    runs: [...new Set(ring.records.map((record) => record.run))],
    ...faults,
    acknowledged: { checked: acks.checked, overwritten: acks.overwritten, last: acks.last },
    inFlight,
  };
  return { ...report, summary: summarise(report) };
}

interface Ring {
  readonly slots: number;
  /** By place; a place past the end of the file is empty. */
  readonly places: readonly (GuestWrite | "empty" | "torn" | "misplaced")[];
  /** Whole records in their own places, by number. */
  readonly records: readonly GuestWrite[];
  readonly misplaced: readonly number[];
  /** The newest number. */
  readonly last: number;
}

function readRing(file: Uint8Array): Ring {
  const places: (GuestWrite | "empty" | "torn" | "misplaced")[] = [];
  const misplaced: number[] = [];
  const records: GuestWrite[] = [];
  for (let at = 0; at < file.length; at += blockSize) {
    const block = decodeBlock(file.subarray(at, at + blockSize));
    const place = at / blockSize;
    if (block.kind !== "record") places.push(block.kind);
    else if ((block.record.number - 1) % block.record.slots !== place) {
      misplaced.push(block.record.number);
      places.push("misplaced");
    } else {
      records.push(block.record);
      places.push(block.record);
    }
  }
  records.sort((a, b) => a.number - b.number);
  return { slots: records[0]?.slots ?? Math.max(places.length, 1), places, records, misplaced, last: records.at(-1)?.number ?? 0 };
}

/**
 * Goes round the ring once, up to the newest record: every place must hold the number that is due there.
 * Only the place after the newest may be torn, by the write that was under way.
 */
function checkPlaces(ring: Ring, lost: readonly number[]): { missing: number[]; torn: number[]; inFlight: boolean } {
  const missing: number[] = [];
  const torn: number[] = [];
  const next = ring.last + 1;
  for (let number = Math.max(1, next - ring.slots); number < next; number += 1) {
    const found = ring.places[(number - 1) % ring.slots] ?? "empty";
    const underWay = number === next - ring.slots && found === "torn";
    if (found === "torn") torn.push(...(underWay ? [] : [number]));
    else if (typeof found === "string" || found.number !== number) missing.push(number);
  }
  const inFlight = ring.places[(next - 1) % ring.slots] === "torn" && !lost.includes(next);
  if (ring.places[(next - 1) % ring.slots] === "torn" && !inFlight) torn.push(next);
  // In the first lap nothing was ever written behind that.
  for (let place = next; place < ring.places.length && next <= ring.slots; place += 1) {
    if (ring.places[place] === "torn") torn.push(place + 1);
  }
  return { missing, torn, inFlight };
}

function checkAcknowledgements(
  ring: Ring,
  acknowledgements: readonly Acknowledgement[],
): { lost: number[]; checked: number; overwritten: number; last: number } {
  const lost = new Set<number>();
  let overwritten = 0;
  let last = 0;
  for (const { number, run } of acknowledgements) {
    last = Math.max(last, number);
    const found = ring.places[(number - 1) % ring.slots];
    // The oldest gives way to the record that is being written.
    const givesWay = number === ring.last + 1 - ring.slots && found === "torn";
    if (number <= ring.last - ring.slots || givesWay) {
      overwritten += 1;
      continue;
    }
    const there = typeof found === "object" && found.number === number && found.run === run;
    if (!there) lost.add(number);
  }
  return { lost: [...lost].sort((a, b) => a - b), checked: acknowledgements.length - overwritten, overwritten, last };
}

function summarise(report: Omit<RecordsReport, "summary">): string {
  const { count, first, last, acknowledged } = report;
  const what = `${count} records, ${first} to ${last}, ${acknowledged.checked} acknowledged ones checked`;
  const faults = (["lost", "missing", "torn", "misplaced"] as const)
    .filter((fault) => report[fault].length > 0)
    .map((fault) => `${report[fault].length} ${fault} (first: ${Math.min(...report[fault])})`);
  return faults.length === 0 ? `${what}: all there` : `${what}: ${faults.join(", ")}`;
}
