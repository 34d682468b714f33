import { type BlobInfo, type BlobStore, type PutOptions, StoreError, type StoreErrorKind } from "@godwit/vault";
import { raceAbort } from "@godwit/core";
import { StoreDecorator } from "../../src/store/store-decorator.ts";

export interface Call {
  readonly operation: "put" | "get" | "read" | "stat" | "list" | "delete" | "extendRetention";
  /** The object, or a listing's prefix. */
  readonly name: string;
  /** Calls before this one. */
  readonly number: number;
}

export type InjectedFault =
  /** Nothing happens, and the call fails. */
  | { readonly kind: "error"; readonly error?: StoreErrorKind }
  /** It happens, and the call fails: the answer was lost. A listing is lost after its first object. */
  | { readonly kind: "lost" }
  /** It happens when `until` settles. */
  | { readonly kind: "delay"; readonly until: Promise<unknown> }
  /** It happens twice, as when a network repeats a request; the second answer arrives. */
  | { readonly kind: "twice" }
  /** The call fails, and a write happens all the same, but only when {@link FaultyStore.deliver} is called. */
  | { readonly kind: "late" };

/** Does to calls what a script says; those it says nothing about pass. */
export class FaultyStore extends StoreDecorator {
  script: (call: Call) => InjectedFault | undefined;
  calls = 0;
  #late: (() => Promise<unknown>)[] = [];

  constructor(inner: BlobStore, script: (call: Call) => InjectedFault | undefined = () => undefined) {
    super(inner);
    this.script = script;
  }

  /** Lets the writes happen that are still on their way, the last one first; how many they were. */
  async deliver(): Promise<number> {
    const late = this.#late.reverse();
    this.#late = [];
    for (const write of late) await write();
    return late.length;
  }

  override put(name: string, parts: readonly Uint8Array[], options: PutOptions): Promise<"created" | "exists"> {
    const copy = parts.map((part) => Uint8Array.from(part));
    return this.#call("put", name, options.signal, (signal) => this.inner.put(name, copy, { ...options, signal }));
  }

  override get(name: string, { signal, maxBytes }: { readonly signal: AbortSignal; readonly maxBytes: number }): Promise<Uint8Array> {
    return this.#call("get", name, signal, (signal) => this.inner.get(name, { signal, maxBytes }));
  }

  override read(name: string, offset: number, into: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    return this.#call("read", name, signal, (signal) => this.inner.read(name, offset, into, { signal }));
  }

  override stat(name: string, { signal }: { readonly signal: AbortSignal }): Promise<BlobInfo | undefined> {
    return this.#call("stat", name, signal, (signal) => this.inner.stat(name, { signal }));
  }

  override async *list(
    prefix: string,
    options: { readonly signal: AbortSignal; readonly after?: string },
  ): AsyncGenerator<BlobInfo, void, undefined> {
    const fault = this.script({ operation: "list", name: prefix, number: this.calls++ });
    if (fault?.kind === "error" || fault?.kind === "late") throw failure(fault, `list ${prefix}`);
    if (fault?.kind === "delay") await raceAbort(fault.until, options.signal);
    for await (const info of this.inner.list(prefix, options)) {
      yield info;
      if (fault?.kind === "lost") throw failure(fault, `list ${prefix}`);
    }
  }

  override delete(name: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#call("delete", name, signal, (signal) => this.inner.delete(name, { signal }));
  }

  override extendRetention(name: string, until: number, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    return this.#call("extendRetention", name, signal, (signal) => this.inner.extendRetention(name, until, { signal }));
  }

  async #call<T>(operation: Call["operation"], name: string, signal: AbortSignal, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const fault = this.script({ operation, name, number: this.calls++ });
    switch (fault?.kind) {
      case undefined:
        return await body(signal);
      case "error":
        throw failure(fault, `${operation} ${name}`);
      case "lost":
        await body(signal);
        throw failure(fault, `${operation} ${name}`);
      case "delay":
        await raceAbort(fault.until, signal);
        return await body(signal);
      case "twice":
        await body(signal);
        return await body(signal);
      case "late":
        if (operation === "put" || operation === "delete") this.#late.push(() => body(new AbortController().signal));
        throw failure(fault, `${operation} ${name}`);
    }
  }
}

function failure(fault: InjectedFault, what: string): StoreError {
  return new StoreError((fault.kind === "error" && fault.error) || "unavailable", `injected (${fault.kind}): ${what}`);
}
