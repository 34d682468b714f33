import type { MigrationPlan, PausePolicy } from "../migration/index.ts";
import type { VmView } from "../model/vm.ts";
import { type Findings, type PlacementHosts, poolOfDisks } from "./gather.ts";
import type { PlacementReason } from "./model.ts";

/** A move that a plan proposes, to be tried by its preflight. */
export interface ProposedMove {
  readonly vmId: string;
  readonly destinationId: string;
  readonly storagePool?: string | undefined;
  /** The pause that may be taken, milliseconds, and what happens when that is not enough; absent: as for any other. */
  readonly maximumPauseMs?: number | undefined;
  readonly pausePolicy?: PausePolicy | undefined;
}

export type TriedForecast = NonNullable<MigrationPlan["forecast"]>;

/** What the preflights of proposed moves said, so that the next plan knows it. */
export class TriedMoves implements Findings {
  readonly #hosts: PlacementHosts;
  readonly #passed = new Set<string>();
  readonly #refused = new Map<string, PlacementReason>();
  readonly #local = new Map<string, string>();
  /** By pool, then by host: bytes. */
  readonly #rooms = new Map<string, ReadonlyMap<string, number>>();
  readonly #forecasts = new Map<string, TriedForecast>();

  constructor(hosts: PlacementHosts) {
    this.#hosts = hosts;
  }

  readonly ruledOut = (vmId: string, hostId: string): PlacementReason | undefined => this.#refused.get(`${vmId} ${hostId}`);

  readonly localPool = (vmId: string): string | undefined => this.#local.get(vmId);

  readonly room = (hostId: string, pool: string): number | undefined => this.#rooms.get(pool)?.get(hostId);

  /** Pools that disks have to be copied into, and whose room nobody has looked at for this plan. */
  unseenPools(): string[] {
    return [...new Set(this.#local.values())].filter((pool) => !this.#rooms.has(pool));
  }

  noteRooms(pool: string, rooms: ReadonlyMap<string, number>): void {
    this.#rooms.set(pool, rooms);
  }

  /** What the preflight foretold of the VM's move to that host. */
  forecast(vmId: string, destinationId: string): TriedForecast | undefined {
    return this.#forecasts.get(`${vmId} ${destinationId}`);
  }

  passed({ vmId, destinationId, storagePool = "" }: ProposedMove): boolean {
    return this.#passed.has(`${vmId} ${destinationId} ${storagePool}`);
  }

  /** A VM may not go to a host, for a reason that no preflight tells: it was tried. */
  ruleOut(vmId: string, hostId: string, reason: PlacementReason): void {
    this.#refused.set(`${vmId} ${hostId}`, reason);
  }

  /**
   * Takes a preflight's answer in. Disks that are on one host only are no reason against a move by themselves:
   * from then on they are copied, where the VM's host and the other have a pool of the same name.
   */
  note(
    vm: VmView,
    { vmId, destinationId, storagePool = "", pausePolicy = "strict" }: ProposedMove,
    plan: Pick<MigrationPlan, "checks" | "possible" | "forecast">,
  ): void {
    if (plan.possible) {
      const { forecast } = plan;
      if (forecast && !forecast.converges && (pausePolicy === "strict" || pausePolicy === "auto-converge"))
        return this.ruleOut(vmId, destinationId, givenUp(forecast));
      if (forecast) this.#forecasts.set(`${vmId} ${destinationId}`, forecast);
      this.#passed.add(`${vmId} ${destinationId} ${storagePool}`);
      return;
    }
    const failed = plan.checks.filter(({ verdict }) => verdict === "fail");
    const pool = storagePool === "" && failed.every(({ id }) => id === "storage") ? poolOfDisks(vm, this.#hosts.pools()) : undefined;
    if (pool !== undefined && !this.#local.has(vmId)) {
      this.#local.set(vmId, pool);
      return;
    }
    this.ruleOut(vmId, destinationId, {
      code: failed[0]?.id ?? "refused",
      text: failed.map(({ text }) => text).join("; "),
      change: failed.map(({ remedy }) => remedy ?? "").join("; "),
    });
  }
}

/** A move that would be given up for the guest's sake is not begun. */
function givenUp({ text, options }: TriedForecast): PlacementReason {
  const others = options.flatMap(({ option, pauseMs }) => {
    if (option === "raise-pause") return [`maximumPauseMs: ${pauseMs}`];
    return option === "quick" ? [] : [`pausePolicy: ${option}`];
  });
  return { code: "pause", text, change: `say so in a rule for it: ${others.join(", or ")}` };
}
