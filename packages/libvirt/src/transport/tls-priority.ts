import type { SecureVersion } from "node:tls";
import { UriError } from "../uri/index.ts";

const known = ["TLS1.2", "TLS1.3"] as const;

/**
 * The part of GnuTLS priority strings that has a meaning here: a base word and TLS versions to leave
 * out (`NORMAL:-VERS-TLS1.2`). TLS below 1.2 is never used; anything else is refused, not guessed.
 */
export function tlsVersions(priority: string | undefined): { minVersion: SecureVersion; maxVersion: SecureVersion } {
  const [base = "", ...changes] = (priority ?? "NORMAL").split(":");
  const refused = (word: string): UriError =>
    new UriError(
      "unsupported",
      "?tls_priority",
      `${JSON.stringify(word)} is GnuTLS's and has no meaning here; use NORMAL or NORMAL:-VERS-TLS1.2, or the tls options`,
    );
  if (base !== "NORMAL" && base !== "SECURE128" && !base.startsWith("@")) throw refused(base);
  const removed = changes.map((change) => {
    const match = /^-VERS-((?:TLS1\.[0-3])|SSL3\.0)$/.exec(change);
    if (!match) throw refused(change);
    return match[1];
  });
  const left = known.filter((version) => !removed.includes(version));
  const [first] = left;
  const last = left.at(-1);
  if (first === undefined || last === undefined)
    throw new UriError("unsupported", "?tls_priority", "leaves neither TLS 1.2 nor 1.3, which are the ones we speak");
  return { minVersion: `TLSv${first.slice(3)}` as SecureVersion, maxVersion: `TLSv${last.slice(3)}` as SecureVersion };
}
