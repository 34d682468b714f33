import { makeRecoveryCode, type RewriteEpochsResult, type Secret } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { renderFields } from "../../output/table.ts";
import { openVault, readKeyFile, readPassphrase } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { gcOptions } from "./gc.ts";
import { slotsTable } from "./tables.ts";

/** `godwit vault key list`. */
export async function listKeys(flags: AccessFlags, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  await show(context, await opened.vault.slots({ signal: context.signal }), slotsTable);
}

export interface AddKeyFlags extends AccessFlags {
  readonly newPassphraseFile?: string;
  readonly newKeyFile?: string;
  readonly label: string;
}

/** `godwit vault key add`. */
export async function addKey(flags: AddKeyFlags, context: VaultContext): Promise<void> {
  const secret = await newSecret(flags);
  await using opened = await openVault(flags, context);
  const id = await opened.vault.addSlot({ secret, label: flags.label }, { signal: context.signal });
  await show(context, { id, kind: secret.kind, label: flags.label }, (slot) => `added slot ${slot.id}\n`);
}

async function newSecret({ newPassphraseFile, newKeyFile }: AddKeyFlags): Promise<Secret> {
  if ((newPassphraseFile === undefined) === (newKeyFile === undefined)) {
    throw new CliError(exitCode.usage, "give one of --new-passphrase-file and --new-key-file; 'key export' makes a recovery code");
  }
  return newPassphraseFile === undefined ? await readKeyFile(newKeyFile!) : await readPassphrase(newPassphraseFile);
}

/** `godwit vault key revoke`. */
export async function revokeKey(slot: string, flags: AccessFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  const matching = (await opened.vault.slots({ signal })).filter(({ id }) => id.startsWith(slot));
  if (matching.length > 1) throw new CliError(exitCode.usage, `${slot} is the start of ${matching.length} slots`);
  const id = matching[0]?.id ?? slot;
  await opened.vault.removeSlot(id, { signal });
  await show(context, { id }, () => `revoked slot ${id}; 'godwit vault key rekey' protects what comes from now on from those who had it\n`);
}

/** `godwit vault key export`: a slot of its own for a sheet of paper. */
export async function exportKey(flags: AccessFlags & { readonly label: string }, context: VaultContext): Promise<void> {
  await using opened = await openVault(flags, context);
  const code = makeRecoveryCode();
  const slot = await opened.vault.addSlot({ secret: { kind: "recovery", code }, label: flags.label }, { signal: context.signal });
  const sheet = { vault: opened.vault.id, location: opened.vault.location, slot, code };
  await show(context, sheet, () =>
    [
      "Recovery code of a Godwit vault. Print it, and keep it where the vault is not.",
      "",
      `  vault     ${sheet.location}`,
      `  id        ${sheet.vault}`,
      `  slot      ${slot}`,
      `  code      ${code}`,
      "",
      "Whoever has this code and the storage can read everything in it. To use it, type the code into a file:",
      `  godwit vault list --vault LOCATION --recovery-code-file FILE`,
      "",
    ].join("\n"),
  );
}

export interface RekeyFlags extends AccessFlags {
  readonly rewrite: boolean;
  readonly maxRewrite?: number;
}

/** `godwit vault key rekey`. */
export async function rekey(flags: RekeyFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  await using opened = await openVault(flags, context);
  if (flags.rewrite) {
    const result = await opened.vault.rewriteOldEpochs(gcOptions(flags, signal));
    return await show(context, result, rewriteTable);
  }
  const result = await opened.vault.rekey({ signal });
  await show(context, result, ({ epoch, leftOut }) => {
    const left = leftOut.map((slot) => `slot ${slot} was left out: no owner of the key made it\n`).join("");
    return `what is stored from now on is sealed with a new key, of epoch ${epoch}; 'key rekey --rewrite' seals the rest with it\n${left}`;
  });
}

function rewriteTable({ gc, points, remaining, dropped }: RewriteEpochsResult): string {
  const left = Object.entries(remaining).map(([kind, count]) => `${count} ${kind}`);
  return renderFields([
    ["packs rewritten", gc.rewrittenPacks],
    ["points resealed", points],
    ["left for the next run", left.length > 0 ? left.join(", ") : undefined],
    ["old keys gone for good", dropped.length > 0 ? `epochs ${dropped.join(", ")}` : undefined],
  ]);
}
