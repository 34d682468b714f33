/** Milliseconds. */
export interface InventoryTiming {
  /** The longest that opening one connection may take. */
  readonly connectMs: number;
  /** When opening has come to nothing after this, another attempt joins it. */
  readonly hedgeMs: number;
  /** The longest that a host may take to answer a question before it counts as lost. */
  readonly readMs: number;
  /** Between two readings of everything, in case that an event was missed. */
  readonly reconcileMs: number;
  /** After connecting, facts are read once more then: some take a moment (is KVM usable?). */
  readonly settleMs: number;
  /** Waits between attempts to reach a lost host double from the first to the last of these. */
  readonly retryMs: readonly [number, number];
}

export const defaultTiming: InventoryTiming = {
  connectMs: 15_000,
  hedgeMs: 3_000,
  readMs: 20_000,
  reconcileMs: 60_000,
  settleMs: 5_000,
  retryMs: [500, 5_000],
};

/** How long to wait before attempt number `attempt` (1 is the second one), with 25 % of jitter to either side, but never above the limit. */
export function retryDelay(attempt: number, [first, limit]: InventoryTiming["retryMs"], random: () => number): number {
  const doubled = Math.min(first * 2 ** Math.min(attempt - 1, 30), limit);
  return Math.min(doubled * (0.75 + random() / 2), limit);
}
