import { SaslError } from "./errors.ts";

// RFC 3454's tables, as RFC 4013 (SASLprep) selects them. Two limits: characters that Unicode assigned
// after 3.2 are accepted, and the direction check knows the right-to-left scripts, not every character.
const mappedToNothing = /\u{034F}|[\u{180B}-\u{180D}]|[\u{FE00}-\u{FE0F}]|[\u{00AD}\u{1806}\u{200B}-\u{200D}\u{2060}\u{FEFF}]/gu; // B.1
const otherSpaces = /[\u{00A0}\u{1680}\u{2000}-\u{200B}\u{202F}\u{205F}\u{3000}]/gu; // C.1.2
const prohibited =
  // C.2.1, C.2.2, C.3 to C.9
  /[\u{0340}-\u{0341}]|[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u{06DD}\u{070F}\u{180E}\u{2028}\u{2029}\u{2061}-\u{2063}\u{206A}-\u{206F}\u{FFF9}-\u{FFFD}\u{2FF0}-\u{2FFB}\u{200E}\u{200F}\u{202A}-\u{202E}\u{1D173}-\u{1D17A}\u{E0001}\u{E0020}-\u{E007F}]/u;
const rightToLeft = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const leftToRight =
  /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/** Prepares a user name or password, so that all ways to type it give the same bytes (RFC 4013). Throws `credentials`. */
export function saslPrep(text: string, what: string): string {
  const prepared = text.replaceAll(otherSpaces, " ").replaceAll(mappedToNothing, "").normalize("NFKC");
  if (prepared === "") throw new SaslError("credentials", `the SASL ${what} is empty; give one`);
  if (prohibited.test(prepared))
    throw new SaslError("credentials", `the SASL ${what} contains a character that SASLprep (RFC 4013) forbids; choose another`);
  if (rightToLeft.test(prepared)) {
    const letters = Array.from(prepared);
    const framed = rightToLeft.test(letters[0]!) && rightToLeft.test(letters.at(-1)!);
    if (!framed || leftToRight.test(prepared))
      throw new SaslError("credentials", `the SASL ${what} mixes writing directions, which SASLprep (RFC 4013) forbids; choose another`);
  }
  return prepared;
}
