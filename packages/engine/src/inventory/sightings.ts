import type { HostState } from "../model/host.ts";
import type { VmFacts } from "../model/vm.ts";

/** What one host last said of one VM. */
export interface Sighting {
  readonly hostId: string;
  readonly facts: VmFacts;
  /** Wall clock, milliseconds. */
  readonly seenAt: number;
  /** Monotonic: when the question was asked that this answers. */
  readonly askedAt: number;
  /** Monotonic: since when this host has been saying, without a break, that the VM runs there. */
  readonly activeSince?: number | undefined;
  /** Monotonic: when it last said so. */
  readonly lastActive?: number | undefined;
}

/** Every sighting of every VM, by VM and host. */
export class Sightings {
  readonly #byVm = new Map<string, Map<string, Sighting>>();
  readonly #byHost = new Map<string, Map<string, Sighting>>();

  ids(): Iterable<string> {
    return this.#byVm.keys();
  }

  of(vmId: string): Sighting[] {
    return [...(this.#byVm.get(vmId)?.values() ?? [])];
  }

  on(hostId: string): Iterable<Sighting> {
    return this.#byHost.get(hostId)?.values() ?? [];
  }

  at(hostId: string, vmId: string): Sighting | undefined {
    return this.#byHost.get(hostId)?.get(vmId);
  }

  put(hostId: string, facts: VmFacts, at: { readonly wall: number; readonly asked: number }): Sighting {
    const before = this.at(hostId, facts.id);
    const active = isActive(facts);
    const sighting: Sighting = {
      hostId,
      facts,
      seenAt: at.wall,
      askedAt: at.asked,
      activeSince: active ? (before?.activeSince ?? at.asked) : undefined,
      lastActive: active ? at.asked : before?.lastActive,
    };
    nested(this.#byVm, facts.id).set(hostId, sighting);
    nested(this.#byHost, hostId).set(facts.id, sighting);
    return sighting;
  }

  /** The host can no longer be asked: what it says next is not a continuation. */
  interrupt(hostId: string): void {
    for (const sighting of this.on(hostId)) {
      if (sighting.activeSince === undefined) continue;
      const interrupted = { ...sighting, activeSince: undefined };
      nested(this.#byVm, sighting.facts.id).set(hostId, interrupted);
      nested(this.#byHost, hostId).set(sighting.facts.id, interrupted);
    }
  }

  delete(hostId: string, vmId: string): void {
    unnest(this.#byVm, vmId, hostId);
    unnest(this.#byHost, hostId, vmId);
  }
}

function nested(map: Map<string, Map<string, Sighting>>, key: string): Map<string, Sighting> {
  const found = map.get(key) ?? new Map<string, Sighting>();
  map.set(key, found);
  return found;
}

function unnest(map: Map<string, Map<string, Sighting>>, outer: string, inner: string): void {
  const found = map.get(outer);
  found?.delete(inner);
  if (found?.size === 0) map.delete(outer);
}

/** Its processors run, or may at any moment without anyone asking. */
export function isActive({ state }: VmFacts): boolean {
  return state === "running" || state === "blocked" || state === "shutting-down" || state === "suspended";
}

export interface Whereabouts {
  /** The host that the VM is on. */
  readonly chosen: Sighting;
  /** Others that really run it too, asked after both did: two copies. */
  readonly alsoRunning: readonly Sighting[];
  /** Sightings to ask for again before anything is said of two copies. */
  readonly doubtful: readonly Sighting[];
}

/**
 * Where a VM is that several hosts know, as during a migration or when it is defined on both:
 *
 * 1. the host that answers and runs it;
 * 2. else the lost host that ran it when last seen: it may still, so nobody can say that it is off;
 * 3. else the host that answers and has it paused and defined;
 * 4. else the lost host that had it paused;
 * 5. else a host that has it paused without a definition: a migration's destination before the hand-over;
 * 6. else a host where it is off, one that answers first.
 *
 * Between equals, the one that ran it last, then the smaller host id. That two hosts run it is said only when each
 * of them said so after the other began to: at a hand-over, one of two answers may just be old.
 */
export function locate(sightings: readonly Sighting[], stateOf: (hostId: string) => HostState): Whereabouts | undefined {
  const [chosen, ...others] = sightings.toSorted(
    (a, b) =>
      rank(b, stateOf(b.hostId)) - rank(a, stateOf(a.hostId)) ||
      (b.activeSince ?? b.lastActive ?? 0) - (a.activeSince ?? a.lastActive ?? 0) ||
      (a.hostId < b.hostId ? -1 : 1),
  );
  if (!chosen) return undefined;
  const active = [chosen, ...others].filter((sighting) => isActive(sighting.facts) && stateOf(sighting.hostId) === "up");
  if (active.length < 2) return { chosen, alsoRunning: [], doubtful: [] };
  const since = Math.max(...active.map((sighting) => sighting.activeSince ?? 0));
  const doubtful = active.filter((sighting) => sighting.askedAt < since);
  return { chosen, alsoRunning: doubtful.length > 0 ? [] : active.slice(1), doubtful };
}

function rank({ facts }: Sighting, host: HostState): number {
  const up = host === "up";
  if (isActive(facts)) return up ? 6 : 5;
  if (facts.state === "paused") return up ? (facts.persistent ? 4 : 2) : 3;
  return up ? 1 : 0;
}
