import type { MigrationInput } from "../migration/index.ts";

/** A migration as a drain, a resume or a balance asks for it: with the limits of the VM's workload. */
export function migrationInput(
  move: Pick<MigrationInput, "vmId" | "vm" | "sourceId" | "source" | "destinationId" | "destination"> & {
    readonly storagePool?: string | undefined;
    readonly maximumPauseMs?: number | undefined;
    readonly pausePolicy?: MigrationInput["policy"];
    readonly waitForCapture?: boolean | undefined;
  },
): MigrationInput {
  const { storagePool, maximumPauseMs, pausePolicy, waitForCapture, ...rest } = move;
  return {
    ...rest,
    peerToPeer: false,
    autoConverge: false,
    ...(storagePool !== undefined && { storagePool }),
    ...(waitForCapture === true && { waitForCapture }),
    ...(maximumPauseMs !== undefined && { maximumPauseMs }),
    ...(pausePolicy !== undefined && { policy: pausePolicy }),
  };
}
