import { describeError, isCancelled } from "@godwit/core";
import { MoveError, type MoveProgress, type MoveTransport } from "../ports/migration.ts";
import type { PauseContract } from "./contract.ts";
import type { MigrationAttempt, MigrationResult } from "./model.ts";
import type { Settled } from "./settle.ts";
import type { ChosenTransport } from "./transport.ts";

export function withoutReasons({ parallelConnections, compression, tls, zeroCopy }: ChosenTransport): MoveTransport {
  return { parallelConnections, compression, tls, zeroCopy };
}

export function outcomeOf(settled: Settled, error: unknown, signal: AbortSignal): Pick<MigrationAttempt, "outcome" | "reason"> {
  if (settled.at === "destination") return { outcome: "carried", reason: { code: "carried", text: settled.text } };
  const text = describeError(error);
  if (signal.aborted || isCancelled(error)) return { outcome: "cancelled", reason: { code: "cancelled", text } };
  const connected = !(error instanceof MoveError) || error.connected;
  return connected
    ? { outcome: "failed", reason: { code: "failed", text } }
    : { outcome: "no-connection", reason: { code: "no-connection", text } };
}

export function keptContract(contract: PauseContract, figures: MoveProgress): NonNullable<MigrationResult["contract"]> {
  return {
    ...contract,
    ...(figures.pauseMs !== undefined && { held: figures.pauseMs <= contract.maximumPauseMs }),
    ...(figures.pauseLimitMs !== undefined && { limitMs: figures.pauseLimitMs }),
    ...(figures.throttlePercent !== undefined && figures.throttlePercent > 0 && { throttlePercent: figures.throttlePercent }),
    ...(figures.atLast !== undefined && { atLast: figures.atLast }),
  };
}
