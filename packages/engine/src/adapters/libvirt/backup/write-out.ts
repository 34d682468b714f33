import { type BlockSink, toError } from "@godwit/core";

const flushEvery = 64 << 20;

/**
 * The same sink, which has its host write out while more comes: the last flush finds little left, where it would else
 * wait for all of an image. What a flush failed with is thrown by the last one, too: a host tells it only once.
 */
export function writingOut(sink: BlockSink): BlockSink {
  let written = 0;
  let flushing: Promise<void> | undefined;
  let failure: Error | undefined;
  const ahead = async (signal: AbortSignal): Promise<void> => {
    try {
      await sink.flush({ signal });
    } catch (error) {
      failure ??= toError(error);
    } finally {
      flushing = undefined;
    }
  };
  return {
    size: sink.size,
    async write(offset, data, options) {
      await sink.write(offset, data, options);
      written += data.length;
      if (written < flushEvery || flushing) return;
      written = 0;
      flushing = ahead(options.signal);
    },
    writeZeroes: (offset, length, options) => sink.writeZeroes(offset, length, options),
    async flush(options) {
      await flushing;
      if (failure) throw failure;
      await sink.flush(options);
    },
    async [Symbol.asyncDispose]() {
      await sink[Symbol.asyncDispose]();
      await flushing;
    },
  };
}
