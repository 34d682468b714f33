import type { Collection } from "../../../src/index.ts";

/** A collection in memory, through JSON as a database would. */
export class Kept<T> implements Collection<T> {
  readonly #rows = new Map<string, string>();

  async get(id: string): Promise<T | undefined> {
    return this.#parse(id);
  }

  async list(): Promise<T[]> {
    return [...this.#rows.keys()].sort().map((id) => this.#parse(id)!);
  }

  async put(id: string, value: T): Promise<void> {
    this.#rows.set(id, JSON.stringify(value));
  }

  async delete(id: string): Promise<void> {
    this.#rows.delete(id);
  }

  #parse(id: string): T | undefined {
    const json = this.#rows.get(id);
    return json === undefined ? undefined : (JSON.parse(json) as T);
  }
}
