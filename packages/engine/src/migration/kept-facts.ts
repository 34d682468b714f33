import type { Clock } from "@godwit/core";
import type { CopyWish, DestinationFacts, HostMigration, SourceFacts } from "../ports/migration.ts";
import type { MigrationInput } from "./model.ts";
import type { Sharing } from "./preflight.ts";

/** What both hosts said of a VM that is to move. */
export interface GatheredFacts {
  readonly vm: SourceFacts;
  readonly copies: readonly CopyWish[];
  readonly there: DestinationFacts;
  /** By path. */
  readonly sharing: ReadonlyMap<string, Sharing>;
}

/** After so long everything is asked anew, milliseconds: what is checked again does not tell all. */
const keptMs = 60_000;
const maximumKept = 1000;

/**
 * What a plan found out about its moves, for their jobs to begin with. Each is used once, while it is young and both
 * hosts say that nothing has changed: the definition and what holds it on the source; name, UUID and memory on the
 * destination. Not kept is what copies disks or files, as room for them is taken by others meanwhile.
 */
export class KeptFacts {
  readonly #clock: Clock;
  readonly #kept = new Map<string, { readonly facts: GatheredFacts; readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  keep(input: MigrationInput, facts: GatheredFacts): void {
    if ((input.kind ?? "live") !== "live" || facts.copies.length > 0 || facts.vm.files.length > 0) return;
    const now = this.#clock.monotonic();
    for (const [key, { at }] of this.#kept) {
      if (now - at <= keptMs && this.#kept.size < maximumKept) break;
      this.#kept.delete(key);
    }
    this.#kept.delete(keyOf(input));
    this.#kept.set(keyOf(input), { facts, at: now });
  }

  /** Undefined when there is nothing, or it is not true any more. */
  async take(
    input: MigrationInput,
    { from, to, signal }: { readonly from: HostMigration; readonly to: HostMigration; readonly signal: AbortSignal },
  ): Promise<GatheredFacts | undefined> {
    const kept = this.#kept.get(keyOf(input));
    this.#kept.delete(keyOf(input));
    if (!kept || this.#clock.monotonic() - kept.at > keptMs) return undefined;
    const { facts } = kept;
    const [unchanged, there] = await Promise.all([from.unchanged(facts.vm, { signal }), to.judgeAgain(facts.vm, { signal })]);
    return unchanged ? { ...facts, there: { ...facts.there, ...there } } : undefined;
  }
}

function keyOf({ vmId, sourceId, destinationId, kind = "live", storagePool, storageByDisk, networkMap }: MigrationInput): string {
  return JSON.stringify([vmId, sourceId, destinationId, kind, storagePool, storageByDisk, networkMap]);
}
