import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { type BlobStore, type Compression, compressions, openStore, type Secret, Vault } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import type { AccessFlags, VaultContext } from "./context.ts";

async function readBytes(path: string, what: string): Promise<Buffer> {
  try {
    return path === "-" ? await buffer(process.stdin) : await readFile(path);
  } catch (cause) {
    throw new CliError(exitCode.usage, `cannot read the ${what} from ${path}`, { cause });
  }
}

/** A passphrase file holds the passphrase and perhaps one line end. */
export async function readPassphrase(path: string): Promise<Secret> {
  const passphrase = (await readBytes(path, "passphrase")).toString("utf8").replace(/\r?\n$/, "");
  if (passphrase === "") throw new CliError(exitCode.usage, `${path} is empty: it must hold the passphrase`);
  return { kind: "passphrase", passphrase };
}

/** A key file is any file that nobody can guess. */
export async function readKeyFile(path: string): Promise<Secret> {
  const bytes = await readBytes(path, "key");
  if (bytes.length < 16) throw new CliError(exitCode.usage, `${path} has ${bytes.length} bytes: a key file needs 16 or more, best random`);
  return { kind: "keyfile", bytes };
}

/** What to open a vault with. An option given comes before every environment variable. */
export async function secretOf(flags: AccessFlags, { env }: Pick<VaultContext, "env">): Promise<Secret> {
  const given = [flags.passphraseFile, flags.keyFile, flags.recoveryCodeFile];
  const [passphrase, key, code] = given.some((path) => path !== undefined)
    ? given
    : [env["GODWIT_PASSPHRASE_FILE"], env["GODWIT_KEY_FILE"], env["GODWIT_RECOVERY_CODE_FILE"]];
  if (passphrase !== undefined) return await readPassphrase(passphrase);
  if (key !== undefined) return await readKeyFile(key);
  if (code !== undefined) return { kind: "recovery", code: (await readBytes(code, "recovery code")).toString("utf8").trim() };
  throw new CliError(
    exitCode.usage,
    "say how to open the vault: --passphrase-file, --key-file or --recovery-code-file, or GODWIT_PASSPHRASE_FILE",
  );
}

export function locationOf(flags: Pick<AccessFlags, "vault">, { env }: Pick<VaultContext, "env">): string {
  const location = flags.vault ?? env["GODWIT_VAULT"];
  if (location === undefined || location === "") throw new CliError(exitCode.usage, "say which vault: --vault LOCATION, or GODWIT_VAULT");
  return location;
}

export interface OpenedVault extends AsyncDisposable {
  readonly vault: Vault;
  readonly store: BlobStore;
}

/** Opens the vault that flags and environment name. `cacheBytes` is of the store, as in {@link openStore}: for reading here and there. */
export async function openVault(
  flags: AccessFlags,
  context: VaultContext,
  { compression = "fast", ...options }: { readonly cacheBytes?: number; readonly compression?: Compression } = {},
): Promise<OpenedVault> {
  const { signal } = context;
  const location = locationOf(flags, context);
  const secret = await secretOf(flags, context);
  const store = await openStore(location, { signal, ...options });
  try {
    const vault = await Vault.open(store, secret, { signal, tuning: compressions[compression] });
    return { vault, store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}
