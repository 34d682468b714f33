import { readFile } from "node:fs/promises";
import { type Clock, describeError, raceAbort } from "@godwit/core";
import { type BlobStore, openStore, Vault, VaultError } from "@godwit/vault";
import { EngineError } from "../model/errors.ts";
import type { Collection } from "../ports/store.ts";
import type { VaultRecord } from "./model.ts";
import { givenName } from "./names.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

export interface VaultAdd {
  readonly name: string;
  readonly location: string;
  readonly passphraseFile: string;
}

interface Opened {
  readonly store: BlobStore;
  readonly vault: Vault;
}

const maxPassphraseBytes = 4096;

/** What captures and recoveries need of the registered vaults. */
export type VaultAccess = Pick<Vaults, "list" | "find" | "open" | "openApart">;

/** The vaults that an admin registered, each opened when it is first needed and kept open. */
export class Vaults implements AsyncDisposable {
  readonly #records: Collection<VaultRecord>;
  readonly #clock: Clock;
  readonly #opened = new Map<string, Promise<Opened>>();
  readonly #closed = new AbortController();

  constructor(records: Collection<VaultRecord>, clock: Clock) {
    this.#records = records;
    this.#clock = clock;
  }

  /** Registers a vault that exists. Throws `invalid`, or `conflict` when its name or the vault itself is registered already. */
  async add(wanted: VaultAdd, { signal }: Cancellable): Promise<VaultRecord> {
    if (!givenName.test(wanted.name)) {
      throw new EngineError("invalid", `'${wanted.name}' cannot name a vault: up to 63 letters, digits, dots, hyphens and underscores`);
    }
    const opened = await openVault(wanted, signal);
    const record: VaultRecord = { ...wanted, id: opened.vault.id, addedAt: new Date(this.#clock.now()).toISOString() };
    const taken = (await this.list()).find(({ id, name }) => id === record.id || name === record.name);
    if (taken) {
      await opened.store[Symbol.asyncDispose]();
      throw new EngineError("conflict", `the vault '${taken.name}' at ${taken.location} is registered already`, { vault: taken.name });
    }
    await this.#records.put(record.id, record);
    this.#opened.set(record.id, Promise.resolve(opened));
    return record;
  }

  /** By name. */
  async list(): Promise<VaultRecord[]> {
    return (await this.#records.list()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** By name or id; throws `not-found`. */
  async find(ref: string): Promise<VaultRecord> {
    const all = await this.list();
    const found = all.find(({ id, name }) => id === ref || name === ref);
    if (found) return found;
    const names = all.map(({ name }) => name).join(", ");
    throw new EngineError(
      "not-found",
      `no vault '${ref}' is registered${names === "" ? "; add one with 'godwit vault-location add'" : `: there are ${names}`}`,
    );
  }

  /** Forgets a vault; nothing in it changes. */
  async remove(ref: string): Promise<void> {
    const { id } = await this.find(ref);
    await this.#records.delete(id);
    await this.#close(id);
  }

  /** Throws `invalid` with the reason when the vault cannot be opened. */
  async open(ref: string, { signal }: Cancellable): Promise<Vault> {
    const record = await this.find(ref);
    // It is for all who ask meanwhile: who gives up does so alone.
    return (await raceAbort(this.#opened.get(record.id) ?? this.#begin(record), signal)).vault;
  }

  #begin(record: VaultRecord): Promise<Opened> {
    const opening = openVault(record, this.#closed.signal);
    this.#opened.set(record.id, opening);
    opening.catch(() => this.#opened.get(record.id) === opening && this.#opened.delete(record.id));
    return opening;
  }

  /** The vault as it is now, whoever wrote to it since it was first opened. The caller closes it. */
  async openApart(ref: string, { signal }: Cancellable): Promise<AsyncDisposable & { readonly vault: Vault }> {
    const record = await this.find(ref);
    // Deriving a key from the passphrase again would take longer than all else.
    const renewed = await (await this.#opened.get(record.id)?.catch(() => undefined))?.vault.renewed({ signal });
    if (renewed) return { vault: renewed, [Symbol.asyncDispose]: () => Promise.resolve() };
    const { store, vault } = await openVault(record, signal);
    return { vault, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new EngineError("interrupted", "the vaults were closed"));
    await Promise.all([...this.#opened.keys()].map((id) => this.#close(id)));
  }

  async #close(id: string): Promise<void> {
    const opened = await this.#opened.get(id)?.catch(() => undefined);
    this.#opened.delete(id);
    await opened?.store[Symbol.asyncDispose]();
  }
}

async function openVault({ name, location, passphraseFile }: VaultAdd, signal: AbortSignal): Promise<Opened> {
  const passphrase = await readPassphrase(passphraseFile, signal);
  let store: BlobStore | undefined;
  try {
    store = await openStore(location, { signal });
    return { store, vault: await Vault.open(store, { kind: "passphrase", passphrase }, { signal }) };
  } catch (error) {
    await store?.[Symbol.asyncDispose]();
    signal.throwIfAborted();
    const locked = error instanceof VaultError && error.kind === "locked" ? ` with the passphrase of ${passphraseFile}` : "";
    throw new EngineError(
      "invalid",
      `the vault '${name}' at ${location} cannot be opened${locked}: ${describeError(error)}`,
      { vault: name },
      { cause: error },
    );
  }
}

async function readPassphrase(path: string, signal: AbortSignal): Promise<string> {
  const bytes = await readFile(path, { signal }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new EngineError("invalid", `the passphrase file ${path} cannot be read by the server`, { path }, { cause });
  });
  const [line = ""] = bytes.subarray(0, maxPassphraseBytes).toString("utf8").split(/\r?\n/);
  if (line === "") throw new EngineError("invalid", `the passphrase file ${path} is empty`, { path });
  return line;
}
