import { raceAbort } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostMigration, Sighting } from "../ports/migration.ts";
import type { MigrationInput } from "./model.ts";
import type { Migrations } from "./service.ts";
import { settle, settleWithout, type Verdict } from "./truth.ts";

/** Where the VM was found to be, once nothing is left to clean up. */
export interface Settled {
  readonly at: "source" | "destination" | "off" | "gone";
  readonly text: string;
  /** It is on the source, and stands still. */
  readonly paused?: boolean;
  /** It is off because its process on the source ended, and the destination never had all of it. */
  readonly neverArrived?: boolean;
}

export interface SettleOptions {
  /** Fires when this server may no longer act. */
  readonly signal: AbortSignal;
  /** How long a host may stay silent before the job gives up asking, milliseconds. */
  readonly patienceMs: number;
  readonly log: (text: string) => void;
  /** The move itself had suspended the guest on the source, for its rest to fit. */
  readonly suspended?: boolean;
  /** Fires when the admin wants the move cancelled. */
  readonly cancel?: AbortSignal;
}

const lookAgainMs = 500;
/** A silent destination is waited for so long when the source has told enough, milliseconds: it may be back, and be cleaned up. */
const silentMs = 20_000;
/** Clean-ups that did not help are not repeated for ever. */
const maximumActs = 20;

/**
 * Finds out which host runs the VM, cleans up what a move left behind, and says where it is. Safe to run
 * twice. Throws `host-lost` when a host stays silent for longer than the patience, and `conflict` when both
 * hosts run it; nothing is touched then.
 */
export async function findAndSettle(migrations: Migrations, input: MigrationInput, options: SettleOptions): Promise<Settled> {
  const { clock } = migrations.options;
  const begunAt = clock.monotonic();
  let giveUpAt = begunAt + options.patienceMs;
  let acts = 0;
  let said = "";
  for (;;) {
    const [seen, destination] = await Promise.all([
      seeVm(migrations, input.sourceId, input, options.signal),
      seeVm(migrations, input.destinationId, input, options.signal),
    ]);
    const source = options.suspended === true ? { ...seen, sighting: pausedByMove(seen.sighting) } : seen;
    const verdict = settle(source.sighting, destination.sighting);
    const text = `${input.vm}: ${verdict.text} (source: ${input.source}, destination: ${input.destination})`;
    if (text !== said) options.log(text);
    said = text;
    if (verdict.act === "conflict") throw new EngineError("conflict", `${text}; nothing was touched, look at both hosts`, { vm: input.vm });
    const end = ended(verdict);
    if (end) return end.at === "source" && source.sighting.presence === "paused" ? { ...end, paused: true } : end;
    if (clock.monotonic() > begunAt + silentMs && answersAlone(input, source.sighting, destination.sighting))
      return { at: "source", text: `it runs on the source; ${input.destination} is silent, and may keep a half that never ran` };
    if (goesOn(input, source.sighting, destination.sighting) && options.cancel?.aborted !== true)
      giveUpAt = clock.monotonic() + options.patienceMs;
    if (clock.monotonic() > giveUpAt || acts >= maximumActs) {
      throw new EngineError(
        "host-lost",
        `${text}; gave up asking. Once both hosts answer, 'godwit vm show ${input.vm}' tells where it runs`,
        { vm: input.vm },
      );
    }
    if (verdict.act !== "wait") acts += 1;
    await act(verdict, input, { source: source.migration, destination: destination.migration }, options);
    if (verdict.act === "wait" || acts > 2) await clock.sleep(lookAgainMs, { signal: options.signal });
  }
}

/** Hypervisors that drive a move by themselves take as long as it takes. */
function goesOn({ peerToPeer }: MigrationInput, source: Sighting, destination: Sighting): boolean {
  return peerToPeer && "moving" in source && source.moving && destination.presence !== "unknown";
}

/** The hypervisor takes a guest that was suspended in its move for one that somebody paused. */
function pausedByMove(source: Sighting): Sighting {
  return source.presence === "paused" ? { ...source, by: "migration" } : source;
}

function answersAlone(input: MigrationInput, source: Sighting, destination: Sighting): boolean {
  return destination.presence === "unknown" && settleWithout(source, input);
}

function ended(verdict: Verdict): Settled | undefined {
  const { act, text } = verdict;
  if (act === "on-source") return { at: "source", text };
  if (act === "on-destination") return { at: "destination", text };
  if (act === "off") return { at: "off", text, neverArrived: verdict.neverArrived };
  return act === "gone" ? { at: "gone", text } : undefined;
}

interface Seen {
  readonly sighting: Sighting;
  readonly migration: HostMigration | undefined;
}

/** What a host says of the VM; a host that is not connected does not say. */
export async function seeVm(
  migrations: Migrations,
  hostId: string,
  input: Pick<MigrationInput, "vmId">,
  signal: AbortSignal,
): Promise<Seen> {
  signal.throwIfAborted();
  try {
    const migration = migrations.options.open(migrations.options.hosts.hypervisor(hostId));
    return { sighting: await raceAbort(migration.sighting(input.vmId, { signal }), signal), migration };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof EngineError && error.kind === "host-lost")
      return { sighting: { presence: "unknown", text: error.message }, migration: undefined };
    throw error;
  }
}

async function act(
  verdict: Verdict,
  input: MigrationInput,
  sides: Record<"source" | "destination", HostMigration | undefined>,
  options: SettleOptions,
): Promise<void> {
  const { signal } = options;
  try {
    if (verdict.act === "resume-source") await sides.source?.resume(input.vmId, { signal });
    else if (verdict.act === "discard-destination") await sides.destination?.discard(input.vmId, { signal });
    else if (verdict.act === "forget-source") await sides.source?.forget(input.vmId, { signal });
  } catch (error) {
    signal.throwIfAborted();
    options.log(`${verdict.act} failed: ${error instanceof Error ? error.message : String(error)}; looking again`);
  }
}
