import { createHash } from "node:crypto";

const grain = 65_536;
const zeros = Buffer.alloc(grain);

/**
 * A checksum of a file's content that does not depend on where its holes are: SHA-256 over every grain of 64 KiB
 * that is not all zeros, each behind its offset, and over the length at the end.
 */
export class ContentDigest {
  readonly #hash = createHash("sha256");
  readonly #grain = Buffer.alloc(grain);
  #filled = 0;
  #offset = 0;
  #dataBytes = 0;

  /** Bytes of content so far, holes included. */
  get length(): number {
    return this.#offset + this.#filled;
  }

  /** Bytes in grains that are not all zeros. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + grain - this.#filled);
      this.#grain.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === grain) this.#flush();
    }
  }

  /** `length` bytes of zeros. */
  hole(length: number): void {
    let left = length;
    while (left > 0) {
      if (this.#filled === 0 && left >= grain) {
        const whole = left - (left % grain);
        this.#offset += whole;
        left -= whole;
        continue;
      }
      const part = Math.min(left, grain - this.#filled);
      this.#grain.fill(0, this.#filled, this.#filled + part);
      this.#filled += part;
      left -= part;
      if (this.#filled === grain) this.#flush();
    }
  }

  /** Hexadecimal; the digest can take nothing afterwards. */
  end(): string {
    if (this.#filled > 0) this.#flush();
    return this.#hash.update(`end ${this.#offset}`).digest("hex");
  }

  #flush(): void {
    const content = this.#grain.subarray(0, this.#filled);
    if (!content.equals(zeros.subarray(0, this.#filled))) {
      this.#hash.update(`${this.#offset} ${this.#filled} `).update(content);
      this.#dataBytes += this.#filled;
    }
    this.#offset += this.#filled;
    this.#filled = 0;
  }
}
