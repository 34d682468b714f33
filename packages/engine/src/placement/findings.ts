import type { MigrationPlan } from "../migration/index.ts";
import type { VmView } from "../model/vm.ts";
import { type Findings, type PlacementHosts, poolOfDisks } from "./gather.ts";
import type { PlacementReason } from "./model.ts";

/** A move that a plan proposes, to be tried by its preflight. */
export interface ProposedMove {
  readonly vmId: string;
  readonly destinationId: string;
  readonly storagePool?: string | undefined;
}

export type TriedForecast = Pick<NonNullable<MigrationPlan["forecast"]>, "totalMs" | "bytes" | "dirtyBytesPerSecond">;

/** What the preflights of proposed moves said, so that the next plan knows it. */
export class TriedMoves implements Findings {
  readonly #hosts: PlacementHosts;
  readonly #passed = new Set<string>();
  readonly #refused = new Map<string, PlacementReason>();
  readonly #local = new Map<string, string>();
  readonly #forecasts = new Map<string, TriedForecast>();

  constructor(hosts: PlacementHosts) {
    this.#hosts = hosts;
  }

  readonly ruledOut = (vmId: string, hostId: string): PlacementReason | undefined => this.#refused.get(`${vmId} ${hostId}`);

  readonly localPool = (vmId: string): string | undefined => this.#local.get(vmId);

  /** What the preflight foretold of the VM's move, to whichever host. */
  forecast(vmId: string): TriedForecast | undefined {
    return this.#forecasts.get(vmId);
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
    { vmId, destinationId, storagePool = "" }: ProposedMove,
    plan: Pick<MigrationPlan, "checks" | "possible" | "forecast">,
  ): void {
    if (plan.possible) {
      if (plan.forecast) this.#forecasts.set(vmId, plan.forecast);
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
