import type { HostView } from "../model/host.ts";
import type { Forecast } from "./forecast.ts";
import { type ForecastWish, slowest } from "./forecast-service.ts";
import { learn } from "./history.ts";
import type { TransportFacts } from "./transport.ts";

/** What is known of a move when its transport is chosen. */
export interface Measured extends Pick<ForecastWish, "input" | "vm" | "verdicts" | "networks" | "history"> {
  readonly forecast: Forecast | undefined;
}

/** What the choice of a transport goes by. */
export function transportFacts({ input, vm, verdicts, networks, history, forecast }: Measured, hosts: readonly HostView[]): TransportFacts {
  const chosen = verdicts.find(({ verdict }) => verdict === "chosen");
  const moves = history.flatMap((move) =>
    move.kind === "live" && move.networkId === chosen?.networkId && move.streams === undefined ? [move] : [],
  );
  return {
    input,
    linkMbps: chosen && slowest(chosen, { input, networks }),
    streamBytesPerSecond: learn(moves)?.bandwidth.value,
    pathBytesPerSecond: forecast?.bandwidthBytesPerSecond,
    dirtyBytesPerSecond: forecast?.dirtyBytesPerSecond,
    memoryBytes: forecast?.residentBytes ?? vm.vm.memoryBytes,
    cpus: Math.min(...hosts.map(({ facts }) => facts?.cpu.count ?? 1)),
  };
}
