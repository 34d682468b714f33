import { raceAbort } from "@godwit/core";
import { onTheirOwn } from "./crowd.ts";
import type { DirtyRates } from "./dirty-rates.ts";
import type { NetworkVerdict, NetworkView } from "../model/network.ts";
import type { CopyWish, HostMigration, SourceFacts } from "../ports/migration.ts";
import { type Estimate, type Forecast, forecastLive, forecastStandstill } from "./forecast.ts";
import { type PastLiveMove, type PastMove, pathOf, sentShare, standstillRatio, switchoverOf } from "./history.ts";
import type { MigrationInput } from "./model.ts";
import { contractOf } from "./model.ts";

/** A dirty rate is measured for so long, seconds: the shortest that libvirt takes. */
export const measureSeconds = 1;

/**
 * Whether to take a second to measure how fast the guest changes memory: `now`, `unless-fresh` when nobody has of
 * late, or not at all, so that its last move has to tell.
 */
export type Measuring = "now" | "unless-fresh" | "no";

export interface ForecastWish {
  readonly input: MigrationInput;
  readonly vm: SourceFacts;
  readonly copies: readonly CopyWish[];
  readonly verdicts: readonly NetworkVerdict[];
  readonly networks: readonly NetworkView[];
  readonly history: readonly PastMove[];
  readonly measure: Measuring;
  readonly rates: DirtyRates;
  /** Saved memory is copied, because it waits on storage that is not shared. */
  readonly memoryCopied: boolean;
  readonly signal: AbortSignal;
}

/** Gathers what a forecast stands on, and makes it; undefined when no network would carry the move. */
export async function makeForecast(from: HostMigration, wish: ForecastWish): Promise<Forecast | undefined> {
  const { kind = "live" } = wish.input;
  return kind === "live" ? await ofLive(from, wish) : await ofStandstill(kind, from, wish);
}

async function ofStandstill(kind: "quick" | "cold", from: HostMigration, wish: ForecastWish): Promise<Forecast> {
  const { input, vm, history, memoryCopied, signal } = wish;
  const measured = kind === "quick" ? await from.measure(input.vmId, { seconds: 0, signal }) : {};
  const residentBytes = kind === "quick" ? Math.min(vm.vm.memoryBytes, measured.residentBytes ?? vm.vm.memoryBytes) : 0;
  const copyBytes = diskBytes(wish) + (memoryCopied ? residentBytes : 0);
  const over = wish.verdicts.find(({ verdict }) => verdict === "chosen")?.network;
  return forecastStandstill({ kind, residentBytes, copyBytes, over, ratio: standstillRatio(history, kind) });
}

/** What is allocated of the disks to copy. */
function diskBytes({ vm, copies }: ForecastWish): number {
  return copies.reduce((sum, { target }) => sum + (vm.vm.disks.find((disk) => disk.target === target)?.allocatedBytes ?? 0), 0);
}

async function ofLive(from: HostMigration, wish: ForecastWish): Promise<Forecast | undefined> {
  const chosen = wish.verdicts.find(({ verdict }) => verdict === "chosen");
  if (!chosen) return undefined;
  const { input, vm, history, rates, signal } = wish;
  await raceAbort(rates.settled(input.vmId), signal);
  const measures = wish.measure === "now" || (wish.measure === "unless-fresh" && rates.fresh(input.vmId) === undefined);
  const measured = await from.measure(input.vmId, { seconds: measures ? measureSeconds : 0, signal });
  if (measured.dirtyBytesPerSecond !== undefined) rates.note(input.vmId, measured.dirtyBytesPerSecond);
  const contract = contractOf(input);
  const live = onTheirOwn(history.filter((move) => move.kind === "live"));
  const moves = live.filter(({ networkId }) => networkId === chosen.networkId);
  const { bandwidth, overhead } = pathOf(moves, {
    network: chosen.network,
    ends: [input.sourceId, input.destinationId],
    copies: wish.copies.length > 0,
    speedMbps: slowest(chosen, wish),
    limitBytesPerSecond: input.bandwidthBytesPerSecond,
  });
  const resident = Math.min(vm.vm.memoryBytes, measured.residentBytes ?? vm.vm.memoryBytes);
  const forecast = forecastLive({
    residentBytes: Math.round(resident * sentShare(live, input.vmId)),
    dirty: dirtyOf(rates.fresh(input.vmId), input.vmId, live),
    bandwidth,
    overhead,
    diskBytes: diskBytes(wish),
    maximumPauseMs: contract.maximumPauseMs,
    policy: contract.policy,
    switchover: switchoverOf(moves, [input.sourceId, input.destinationId]),
  });
  return { ...forecast, residentBytes: resident };
}

/**
 * The greater one of what is measured now and what its last move had: sampling does not see memory that is rewritten
 * with what was there, which has to be sent again all the same.
 */
function dirtyOf(measured: Estimate | undefined, vmId: string, history: readonly PastLiveMove[]): Estimate | undefined {
  const last = history.find((move) => move.vmId === vmId && move.dirtyBytesPerSecond !== undefined);
  const seen = last?.dirtyBytesPerSecond;
  if (seen !== undefined && (measured === undefined || seen > measured.value))
    return { value: seen, text: `in its last move, ${last?.endedAt ?? ""}` };
  return measured;
}

/** Of both ends' interfaces, in Mbit/s; undefined when neither tells. */
export function slowest(verdict: NetworkVerdict, { input, networks }: Pick<ForecastWish, "input" | "networks">): number | undefined {
  const interfaces = networks.find(({ id }) => id === verdict.networkId)?.interfaces ?? [];
  const speeds = [
    interfaces.find((one) => one.hostId === input.sourceId && one.interface === verdict.sourceInterface)?.speedMbps,
    interfaces.find((one) => one.hostId === input.destinationId && one.interface === verdict.destinationInterface)?.speedMbps,
  ].filter((speed) => speed !== undefined);
  return speeds.length === 0 ? undefined : Math.min(...speeds);
}
