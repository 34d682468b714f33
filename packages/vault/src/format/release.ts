/**
 * Frees the memory of bytes that fill their buffer and that nobody else uses, at once: what ciphers return
 * is garbage after each call, and the collector lets some 64 MiB of it pile up on every thread.
 */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0);
}
