import { isDeepStrictEqual } from "node:util";
import type { Clock } from "@godwit/core";
import type { HostState } from "../model/host.ts";
import type { VmFacts, VmView } from "../model/vm.ts";
import type { ChangeFeed } from "./changes.ts";
import type { HostLink } from "./host-link.ts";
import { isActive, locate, type Sighting, Sightings } from "./sightings.ts";

/** A VM of which two copies run. Nothing is worse; a person must end one. */
export interface VmConflict {
  readonly vmId: string;
  readonly name: string;
  readonly copies: readonly VmView[];
}

/** The VMs of all hosts, each where {@link locate} says it is. */
export class VmMap {
  readonly #links: ReadonlyMap<string, HostLink>;
  readonly #feed: ChangeFeed;
  readonly #clock: Clock;
  readonly #sightings = new Sightings();

  constructor(options: { readonly links: ReadonlyMap<string, HostLink>; readonly feed: ChangeFeed; readonly clock: Clock }) {
    this.#links = options.links;
    this.#feed = options.feed;
    this.#clock = options.clock;
  }

  views(): VmView[] {
    return [...this.#sightings.ids()].flatMap((id) => this.viewsOf(id));
  }

  /** None, one, or one for each copy that runs. */
  viewsOf(vmId: string): VmView[] {
    const where = locate(this.#sightings.of(vmId), this.#stateOf);
    return where ? [where.chosen, ...where.alsoRunning].map((sighting) => this.#view(sighting)) : [];
  }

  conflicts(): VmConflict[] {
    return [...this.#sightings.ids()].flatMap((vmId) => {
      const copies = this.viewsOf(vmId);
      return copies.length > 1 ? [{ vmId, name: copies[0]!.name, copies }] : [];
    });
  }

  /** What a host has, by its own word. */
  count(hostId: string): { total: number; running: number } {
    let total = 0;
    let running = 0;
    for (const { facts } of this.#sightings.on(hostId)) {
      total += 1;
      if (isActive(facts)) running += 1;
    }
    return { total, running };
  }

  seenAll(hostId: string, vms: readonly VmFacts[], askedAt: number): void {
    const there = new Set(vms.map((vm) => vm.id));
    for (const { facts } of this.#sightings.on(hostId)) if (!there.has(facts.id)) this.#remove(hostId, facts.id);
    for (const vm of vms) this.#put(hostId, vm, askedAt);
  }

  seen(hostId: string, vmId: string, facts: VmFacts | undefined, askedAt: number): void {
    if (facts) this.#put(hostId, facts, askedAt);
    else this.#remove(hostId, vmId);
  }

  /** A host came or went: its VMs are known or unknown from now on. */
  reached(hostId: string, up: boolean): void {
    if (!up) this.#sightings.interrupt(hostId);
    for (const { facts } of this.#sightings.on(hostId)) {
      this.#feed.emit({ kind: "vm", vmId: facts.id });
      this.#settle(facts.id);
    }
  }

  drop(hostId: string): void {
    for (const { facts } of this.#sightings.on(hostId)) this.#remove(hostId, facts.id);
  }

  #put(hostId: string, facts: VmFacts, asked: number): void {
    const before = this.#sightings.at(hostId, facts.id);
    // The same object again is the adapter's word that nothing changed; so is an equal one, kept to save memory.
    const same = before !== undefined && (before.facts === facts || isDeepStrictEqual(before.facts, facts));
    this.#sightings.put(hostId, same ? before.facts : facts, { wall: this.#clock.now(), asked });
    if (!same) this.#feed.emit({ kind: "vm", vmId: facts.id });
    this.#settle(facts.id);
  }

  #remove(hostId: string, vmId: string): void {
    if (!this.#sightings.at(hostId, vmId)) return;
    this.#sightings.delete(hostId, vmId);
    this.#feed.emit({ kind: this.#sightings.of(vmId).length > 0 ? "vm" : "vm-removed", vmId });
  }

  /** Two answers that contradict each other: the older one is asked for again. */
  #settle(vmId: string): void {
    const sightings = this.#sightings.of(vmId);
    if (sightings.length < 2) return;
    const where = locate(sightings, this.#stateOf);
    for (const { hostId } of where?.doubtful ?? []) this.#links.get(hostId)?.nudge(vmId);
    if (where && where.alsoRunning.length > 0) this.#feed.emit({ kind: "vm", vmId });
  }

  readonly #stateOf = (hostId: string): HostState => this.#links.get(hostId)?.state ?? "lost";

  #view({ facts, hostId, seenAt }: Sighting): VmView {
    const { state, ...rest } = facts;
    return {
      ...rest,
      state: this.#stateOf(hostId) === "up" ? state : "unknown",
      lastKnownState: state,
      hostId,
      host: this.#links.get(hostId)?.record.name ?? hostId,
      seenAt: new Date(seenAt).toISOString(),
    };
  }
}
