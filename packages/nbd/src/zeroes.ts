const ZEROES = Buffer.alloc(64 << 10);

/** Whether all bytes are zero. The first word decides nearly always. */
export function isZero(bytes: Uint8Array): boolean {
  if (bytes.length === 0 || bytes[0] !== 0 || bytes[bytes.length - 1] !== 0 || bytes[bytes.length >>> 1] !== 0) return bytes.length === 0;
  for (let at = 0; at < bytes.length; at += ZEROES.length) {
    const length = Math.min(ZEROES.length, bytes.length - at);
    if (Buffer.compare(bytes.subarray(at, at + length), length === ZEROES.length ? ZEROES : ZEROES.subarray(0, length)) !== 0) return false;
  }
  return true;
}

/** Cuts `bytes`, which lie at `offset` of a disk, into runs of zero and data blocks, aligned on the disk. */
export function* zeroRuns(
  bytes: Uint8Array,
  offset: number,
  block: number,
): Generator<{ start: number; end: number; zero: boolean }, void, undefined> {
  let run: { start: number; end: number; zero: boolean } | undefined;
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(bytes.length, start + block - ((offset + start) % block));
    const zero = isZero(bytes.subarray(start, end));
    if (run?.zero === zero) run.end = end;
    else {
      if (run) yield run;
      run = { start, end, zero };
    }
    start = end;
  }
  if (run) yield run;
}
