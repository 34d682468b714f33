import { GodwitError } from "@godwit/core";

export type VaultErrorKind =
  /** There is no vault at this place, or already one where one should be made. */
  | "no-vault"
  | "vault-exists"
  /** A version or parameter that this program does not know. */
  | "unsupported"
  /** The secret opens no slot. */
  | "locked"
  /** An object is damaged: its bytes are not what was sealed under that name. */
  | "corrupt"
  /** A chunk, node or object that something refers to is not there. */
  | "missing"
  /** No such recovery point, disk or slot; or several that match. */
  | "not-found"
  | "ambiguous"
  /** The session was taken for dead by gc or by another put of the same name: what it began cannot be finished. */
  | "given-up"
  /** The recovery point is held or locked. */
  | "held"
  /** What was asked makes no sense. */
  | "invalid";

export class VaultError extends GodwitError<VaultErrorKind> {
  override readonly name = "VaultError";
}

/** True when other copies of the same bytes, or an older capture, may help: damage and loss. */
export function isDamage(error: unknown): boolean {
  return error instanceof VaultError && (error.kind === "corrupt" || error.kind === "missing");
}

/** True for damage, and for what is sealed with a key that the opened slot was not granted. */
export function isUnreadable(error: unknown): boolean {
  return isDamage(error) || (error instanceof VaultError && error.kind === "locked");
}
