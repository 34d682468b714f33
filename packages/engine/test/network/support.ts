import type { Store } from "../../src/ports/store.ts";
import type { Collection } from "../../src/ports/store.ts";

/** A collection that forgets; values are copied as a store would. */
export class MemoryCollection<T> implements Collection<T> {
  readonly #values = new Map<string, T>();
  /** How often something was written. */
  writes = 0;

  async get(id: string): Promise<T | undefined> {
    return structuredClone(this.#values.get(id));
  }
  async list(): Promise<T[]> {
    return [...this.#values.keys()].sort().map((id) => structuredClone(this.#values.get(id)!));
  }
  async put(id: string, value: T): Promise<void> {
    this.writes += 1;
    this.#values.set(id, structuredClone(value));
  }
  async delete(id: string): Promise<void> {
    this.writes += 1;
    this.#values.delete(id);
  }
}

export type NetworkStore = {
  readonly [Key in "networks" | "liveMigration" | "hostMigration" | "backupTraffic" | "hostBackup"]: Store[Key] & {
    readonly writes: number;
  };
};

export function memoryStore(): NetworkStore {
  return {
    networks: new MemoryCollection(),
    liveMigration: new MemoryCollection(),
    hostMigration: new MemoryCollection(),
    backupTraffic: new MemoryCollection(),
    hostBackup: new MemoryCollection(),
  };
}
