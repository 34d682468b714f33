import { anySignal, type Clock, describeError } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostBackup, Moment } from "../ports/backup.ts";
import type { WaitingMove } from "./service.ts";

/** The reading ended because the VM must move, or is started or stopped. */
export class Parked extends Error {
  override readonly name = "Parked";
  readonly move: WaitingMove;
  constructor(move: WaitingMove) {
    super(`parked for job ${move.id} (${move.title})`);
    this.move = move;
  }
}

export interface GuardOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly moveWaiting: () => WaitingMove | undefined;
  /** Told once of each move that waits until the reading has ended. */
  readonly waitedFor: (move: WaitingMove) => Promise<void>;
  readonly scratchLeft: (signal: AbortSignal) => Promise<number | undefined>;
  /** Bytes below which the reading ends: a guest whose overwritten blocks find no room gets write errors. */
  readonly scratchFloor: number;
}

const lookMs = 250;
const scratchEvery = 8;

/** While it lives, its signal also fires with `Parked` when a move waits, and with `refused` when the guest's scratch space runs out. */
export function guard(options: GuardOptions): AsyncDisposable & { readonly signal: AbortSignal } {
  const over = new AbortController();
  const ended = new AbortController();
  const watching = look(options, over, ended.signal);
  return {
    signal: anySignal(options.signal, over.signal),
    async [Symbol.asyncDispose]() {
      ended.abort();
      await watching;
    },
  };
}

async function look(
  { signal, clock, moveWaiting, waitedFor, scratchLeft, scratchFloor }: GuardOptions,
  over: AbortController,
  ended: AbortSignal,
): Promise<void> {
  const both = anySignal(signal, ended);
  let told: string | undefined;
  try {
    for (let turn = 0; !both.aborted; turn += 1) {
      const move = moveWaiting();
      if (move && move.waits !== true) return over.abort(new Parked(move));
      if (move && move.id !== told) {
        told = move.id;
        await waitedFor(move);
      }
      const left = turn % scratchEvery === 0 ? await scratchLeft(both) : undefined;
      if (left !== undefined && left < scratchFloor) {
        const text = `the capture was given up for the guest's sake: only ${left} bytes are left for what it overwrites; free some space on its host`;
        return over.abort(new EngineError("refused", text));
      }
      await clock.sleep(lookMs, { signal: both });
    }
  } catch (error) {
    // Nobody can tell how much room is left: the guest comes first.
    if (!both.aborted)
      over.abort(new EngineError("host-lost", `the host was lost while it was read: ${describeError(error)}`, {}, { cause: error }));
  }
}

/** QEMU refuses to start a VM whose qcow2 images are read; raw ones it does not guard. Throws `conflict` when it was not off all along. */
export async function needStillOff(backup: HostBackup, moment: Moment, vmId: string, signal: AbortSignal): Promise<void> {
  const { state, name } = await backup.facts(vmId, { signal });
  if (state !== "off")
    throw new EngineError("conflict", `${name} was started while its images were read: capture it again, now while it runs`);
  const touched = await moment.touched?.({ signal });
  if (touched === undefined) return;
  throw new EngineError("conflict", `${touched} was written to while it was read, though ${name} is off: capture it again`);
}
