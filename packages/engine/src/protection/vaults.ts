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
  vault: Vault;
  /** When it was last asked whether there is a newer key; monotonic. */
  lookedAt?: number;
}

/** How long what is new may be sealed with a key that was replaced. */
const lookMs = 60_000;

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
    const opened = await raceAbort(this.#opened.get(record.id) ?? this.#begin(record), signal);
    await this.#renew(record, opened, signal);
    return opened.vault;
  }

  /** Who had a secret that was revoked must not read what is captured after a re-key: it is sealed with the newer key. */
  async #renew(record: VaultRecord, opened: Opened, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    opened.lookedAt ??= now;
    if (now - opened.lookedAt < lookMs) return;
    opened.lookedAt = now;
    const same = await opened.vault.renewed({ signal }).catch(() => {
      // Out of reach: what is to be done with it will say so.
      signal.throwIfAborted();
      return opened.vault;
    });
    if (same) return;
    opened.vault = await unlock(record, opened.store, await readPassphrase(record.passphraseFile, signal), signal);
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
    const opening = this.#opened.get(record.id)?.catch(() => undefined);
    const renewed = await (opening && (await raceAbort(opening, signal)))?.vault.renewed({ signal });
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

async function openVault(record: VaultAdd, signal: AbortSignal): Promise<Opened> {
  const passphrase = await readPassphrase(record.passphraseFile, signal);
  await using stack = new AsyncDisposableStack();
  const store = await explained(record, signal, async () => stack.use(await openStore(record.location, { signal })));
  const vault = await unlock(record, store, passphrase, signal);
  stack.move();
  return { store, vault };
}

async function unlock(record: VaultAdd, store: BlobStore, passphrase: string, signal: AbortSignal): Promise<Vault> {
  return await explained(record, signal, () => Vault.open(store, { kind: "passphrase", passphrase }, { signal }));
}

async function explained<T>({ name, location, passphraseFile }: VaultAdd, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
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
