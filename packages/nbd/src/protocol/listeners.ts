import type { EventEmitter } from "node:events";

/** Listeners of ours on somebody else's emitter, which can be taken off again without touching others. */
export class Listeners {
  readonly #emitter: EventEmitter;
  readonly #added: { event: string; listener: (...args: never[]) => void }[] = [];

  constructor(emitter: EventEmitter) {
    this.#emitter = emitter;
  }

  on(event: string, listener: (...args: never[]) => void): this {
    this.#emitter.on(event, listener as (...args: unknown[]) => void);
    this.#added.push({ event, listener });
    return this;
  }

  off(): void {
    for (const { event, listener } of this.#added.splice(0)) this.#emitter.off(event, listener as (...args: unknown[]) => void);
  }
}
