import { StoreError } from "./blob-store.ts";

/** A location as people write it: `scheme://place/prefix?option=value`. */
export interface ParsedLocation {
  /** Bucket or account. */
  readonly place: string;
  /** Path segments after it. */
  readonly segments: readonly string[];
  readonly options: Readonly<Record<string, string>>;
}

const placePattern = /^[a-z0-9][a-z0-9._-]{1,62}$/i;
const segmentPattern = /^(?!\.{1,2}$)[A-Za-z0-9._~-]{1,255}$/;
const longestPath = 600;

/**
 * Takes a location apart. Throws `failed` for what is none, for unknown options, and for credentials in it:
 * locations are written to logs.
 */
export function parseLocation(location: string, allowed: readonly string[]): ParsedLocation {
  const bad = (why: string): never => {
    throw new StoreError("failed", `${shown(location)} is no location of a vault: ${why}`);
  };
  const parsed = /^[a-z0-9]+:\/\/([^/?#]+)(\/[^?#]*)?(?:\?([^#]*))?$/i.exec(location);
  const [, place = "", path = "", query = ""] = parsed ?? bad("write scheme://place/prefix");
  if (place.includes("@")) bad("credentials do not belong in it; they come from the environment");
  if (!placePattern.test(place)) bad(`${place} is no name of a bucket or an account`);
  const segments = path.split("/").filter((segment) => segment !== "");
  const odd = segments.find((segment) => !segmentPattern.test(segment));
  if (odd !== undefined) bad(`its part ${JSON.stringify(odd)} may hold letters, digits and -._~ only`);
  if (path.length > longestPath) bad(`its path has more than ${longestPath} characters`);
  const options: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (!allowed.includes(name)) bad(`there is no option ${name}, only ${allowed.join(", ")}`);
    if (Object.hasOwn(options, name)) bad(`${name} is given twice`);
    options[name] = value;
  }
  return { place, segments, options };
}

/** An endpoint of a store: scheme, host and port, and a path where `path` allows one. Throws `failed`. */
export function parseEndpoint(text: string, { path = false }: { readonly path?: boolean } = {}): string {
  const url = URL.parse(text);
  const fits = url && (url.protocol === "https:" || url.protocol === "http:") && url.search === "" && url.hash === "";
  if (!fits || (!path && url.pathname !== "/")) {
    throw new StoreError("failed", `${shown(text)} is no endpoint: write https://host, with a port where it has one`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new StoreError("failed", "credentials do not belong in an endpoint; they come from the environment");
  }
  return url.href.replace(/\/$/, "");
}

/** The text without anything in it that may be a secret. */
function shown(text: string): string {
  return text
    .replace(/\/\/[^/@]*@/, "//…@")
    .replace(/[?#].*$/s, "?…")
    .slice(0, 200);
}
