import { createHash, randomBytes } from "node:crypto";
import { VaultError } from "../errors.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const checkLength = 3;

const checkOf = (secret: Uint8Array): Buffer => createHash("sha256").update(secret).digest().subarray(0, checkLength);

/** A secret for paper: 56 letters and digits in groups of seven, of which the last few find typing errors. */
export function makeRecoveryCode(): string {
  const secret = randomBytes(32);
  const bits = [...secret, ...checkOf(secret)].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const letters = bits.match(/.{5}/g)!.map((five) => alphabet[Number.parseInt(five, 2)]!);
  return letters.join("").match(/.{7}/g)!.join("-");
}

/** The 32 bytes of a code, however it is spaced. Throws `invalid` for a typing error. */
export function parseRecoveryCode(code: string): Uint8Array {
  const letters = code.toUpperCase().replaceAll(/[\s-]/g, "");
  const invalid = (): VaultError => new VaultError("invalid", "this is not a recovery code: a letter is wrong or missing");
  if (!/^[A-Z2-7]{56}$/.test(letters)) throw invalid();
  const bits = letters
    .split("")
    .map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0"))
    .join("");
  const bytes = Uint8Array.from(bits.match(/.{8}/g)!, (eight) => Number.parseInt(eight, 2));
  const secret = bytes.subarray(0, 32);
  if (!checkOf(secret).equals(bytes.subarray(32))) throw invalid();
  return secret;
}
