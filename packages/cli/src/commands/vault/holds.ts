import type { Hold } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderTable } from "../../output/table.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { shortId } from "./words.ts";

export interface HoldFlags extends AccessFlags {
  readonly reason: string;
  /** Milliseconds since the epoch. */
  readonly until?: number;
  /** Milliseconds from now. */
  readonly for?: number;
}

function endOf({ until, for: span }: HoldFlags): number | undefined {
  if (until !== undefined && span !== undefined) throw new CliError(exitCode.usage, "give one of --until and --for");
  return span === undefined ? until : Date.now() + span;
}

/** `godwit vault hold add`. */
export async function addHold(text: string, flags: HoldFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const until = endOf(flags);
  await using opened = await openVault(flags, context);
  const point = await opened.vault.point(text, { signal });
  const hold = await opened.vault.hold(point, { reason: flags.reason, ...(until === undefined ? {} : { until }) }, { signal });
  await show(context, hold, ({ id }) => `${shortId(point.id)} is held by ${id}\n`);
}

/** `godwit vault hold lock`. */
export async function lockPoint(text: string, flags: HoldFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const until = endOf(flags);
  if (until === undefined) throw new CliError(exitCode.usage, "a lock needs its end: --until DATE or --for SPAN");
  await using opened = await openVault(flags, context);
  const point = await opened.vault.point(text, { signal });
  const result = await opened.vault.lock(point, { reason: flags.reason, until }, { signal });
  const end = new Date(until).toISOString();
  await show(context, result, () =>
    opened.store.enforcesRetention
      ? `${shortId(point.id)} is locked until ${end}, by the storage itself\n`
      : `${shortId(point.id)} is locked until ${end} against every Godwit; this storage itself enforces nothing\n`,
  );
}

/** `godwit vault hold release`. */
export async function releaseHold(text: string, hold: string | undefined, flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  const point = await opened.vault.point(text, { signal });
  const released = await opened.vault.release(point, hold, { signal });
  await show(context, { released }, () => `${released} ${released === 1 ? "hold" : "holds"} of ${shortId(point.id)} released\n`);
}

/** `godwit vault hold list`. */
export async function listHolds(text: string | undefined, flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  const point = text === undefined ? undefined : await opened.vault.point(text, { signal });
  await show(context, await opened.vault.holds(point, { signal }), holdsTable);
}

export function holdsTable(holds: readonly Hold[]): string {
  return renderTable(
    [
      { title: "HOLD", value: (hold) => hold.id },
      { title: "POINT", value: (hold) => shortId(hold.point) },
      { title: "KIND", value: (hold) => hold.kind },
      { title: "UNTIL", value: (hold) => (hold.until === undefined ? "released" : new Date(hold.until).toISOString()) },
      { title: "REASON", value: (hold) => hold.reason },
    ],
    holds,
  );
}
