/**
 * The records that a guest's workload writes (scripts/guest-records.sh): blocks of 4096 bytes in a ring,
 * each one line of 64 bytes 64 times over.
 */
export const blockSize = 4096;
export const lineSize = 64;

export interface GuestWrite {
  /** 1, 2, 3, … over all the guest's boots. */
  readonly number: number;
  /** Which boot of the guest wrote it: 8 hex digits. */
  readonly run: string;
  /** The guest's own clock, 1/100 s since it booted; it stands still while the guest does. */
  readonly uptime: number;
  /** Blocks in the ring: record n is in block (n - 1) modulo this. */
  readonly slots: number;
}

/** What a block holds: one whole record, nothing yet, or anything else. */
export type Block = { readonly kind: "record"; readonly record: GuestWrite } | { readonly kind: "empty" } | { readonly kind: "torn" };

const linePattern = /^godwit (\d{12}) ([0-9a-f]{8}) (\d{12}) (\d{10}) (\d{6}) end\n$/;

export function checksum(record: Pick<GuestWrite, "number" | "run" | "uptime">): number {
  const sum = BigInt(record.number) * 2654435761n + BigInt(record.uptime) * 40503n + BigInt(`0x${record.run}`);
  return Number(sum & 0xffffffffn);
}

export function encodeBlock(record: GuestWrite): Buffer {
  const pad = (value: number, digits: number): string => String(value).padStart(digits, "0");
  const { number, run, uptime, slots } = record;
  const line = `godwit ${pad(number, 12)} ${run} ${pad(uptime, 12)} ${pad(checksum(record), 10)} ${pad(slots, 6)} end\n`;
  return Buffer.from(line.repeat(blockSize / lineSize));
}

/** Reads one block; a short one is torn. */
export function decodeBlock(block: Uint8Array): Block {
  if (block.every((byte) => byte === 0)) return { kind: "empty" };
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const match = linePattern.exec(bytes.toString("latin1", 0, lineSize));
  if (!match || bytes.length !== blockSize) return { kind: "torn" };
  const record = { number: Number(match[1]), run: match[2]!, uptime: Number(match[3]), slots: Number(match[5]) };
  // Every line is the first one: comparing the block with itself, one line on, says so.
  const repeats = bytes.compare(bytes, lineSize, blockSize, 0, blockSize - lineSize) === 0;
  const good = repeats && record.slots > 0 && record.number > 0 && checksum(record) === Number(match[4]);
  return good ? { kind: "record", record } : { kind: "torn" };
}
