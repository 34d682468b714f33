/**
 * The items of `source` in their order, each with what `prepare` makes of it; up to `depth` are prepared at
 * once, ahead of who asks. An error comes in its item's place. Leaving early waits for what is under way.
 */
export async function* ahead<T, R>(source: AsyncIterable<T>, depth: number, prepare: (item: T) => Promise<R>): AsyncGenerator<R> {
  const items = source[Symbol.asyncIterator]();
  const prepared: Promise<{ readonly value: R } | undefined>[] = [];
  const state = { ended: false };
  const one = async (next: Promise<IteratorResult<T>>): Promise<{ readonly value: R } | undefined> => {
    const { value, done } = await next;
    if (done !== true) return { value: await prepare(value) };
    state.ended = true;
    return undefined;
  };
  try {
    for (;;) {
      while (!state.ended && prepared.length < depth) {
        const preparing = one(items.next());
        preparing.catch(() => (state.ended = true));
        prepared.push(preparing);
      }
      const result = await prepared.shift();
      if (!result) return;
      yield result.value;
    }
  } finally {
    await Promise.allSettled(prepared);
    await items.return?.();
  }
}
