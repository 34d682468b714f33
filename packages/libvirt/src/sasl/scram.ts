import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { SaslError } from "./errors.ts";
import type { SaslCredentials, SaslExchange } from "./mechanism.ts";
import { saslPrep } from "./saslprep.ts";

export type ScramHash = "sha1" | "sha256" | "sha512";

const derive = promisify(pbkdf2);

/** Fewer make a stolen exchange cheap to crack (RFC 7677, 4); more let a hostile server burn our time. */
const MIN_ITERATIONS = 4096;
const MAX_ITERATIONS = 1_000_000;
const MAX_SALT = 1024;
const MAX_MESSAGE = 4096;

/** SCRAM (RFC 5802, RFC 7677) without channel binding. It never shows the password, and proves the server's knowledge of it. */
export class Scram implements SaslExchange {
  readonly #hash: ScramHash;
  readonly #password: string;
  readonly #nonce: string;
  readonly #gs2: string;
  readonly #firstBare: string;
  #expected: Buffer | undefined;
  #satisfied = false;

  /** `nonce` is printable ASCII without comma; only tests give it. */
  constructor(hash: ScramHash, { username, password, actAs }: SaslCredentials, nonce: string = randomBytes(24).toString("base64")) {
    this.#hash = hash;
    this.#password = saslPrep(password, "password");
    this.#nonce = nonce;
    this.#gs2 = `n,${actAs === undefined ? "" : `a=${escapeName(saslPrep(actAs, "user to act as"))}`},`;
    this.#firstBare = `n=${escapeName(saslPrep(username, "user name"))},r=${nonce}`;
  }

  get satisfied(): boolean {
    return this.#satisfied;
  }

  first(): Uint8Array {
    return Buffer.from(this.#gs2 + this.#firstBare);
  }

  async next(challenge: Uint8Array): Promise<Uint8Array | null> {
    if (challenge.length > MAX_MESSAGE) throw protocol(`a message of ${challenge.length} bytes`);
    const message = Buffer.from(challenge).toString("utf8");
    if (!this.#expected) return this.#prove(message);
    if (this.#satisfied) throw protocol("a message after the last one");
    this.#checkServer(message, this.#expected);
    return null;
  }

  async #prove(serverFirst: string): Promise<Uint8Array> {
    const { nonce, salt, iterations } = readServerFirst(serverFirst, this.#nonce);
    const salted = await derive(this.#password, salt, iterations, createHash(this.#hash).digest().length, this.#hash);
    const hmac = (key: Uint8Array, data: string): Buffer => createHmac(this.#hash, key).update(data).digest();
    const clientKey = hmac(salted, "Client Key");
    const storedKey = createHash(this.#hash).update(clientKey).digest();
    const withoutProof = `c=${Buffer.from(this.#gs2).toString("base64")},r=${nonce}`;
    const exchange = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const proof = hmac(storedKey, exchange).map((byte, index) => byte ^ clientKey[index]!);
    this.#expected = hmac(hmac(salted, "Server Key"), exchange);
    return Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString("base64")}`);
  }

  #checkServer(serverFinal: string, expected: Buffer): void {
    const fields = serverFinal.split(",");
    const error = fields.find((field) => field.startsWith("e="));
    if (error !== undefined) throw new SaslError("rejected", `the daemon refused the login: ${printable(error.slice(2))}`);
    const verifier = Buffer.from(fields[0]?.startsWith("v=") ? fields[0].slice(2) : "", "base64");
    if (verifier.length !== expected.length || !timingSafeEqual(verifier, expected)) {
      throw new SaslError(
        "server",
        "the server does not know the password: it is not the daemon that it claims to be; find out who answers there",
      );
    }
    this.#satisfied = true;
  }
}

function readServerFirst(message: string, ourNonce: string): { nonce: string; salt: Buffer; iterations: number } {
  // Extensions may follow; a mandatory one (m=) comes first and must end the exchange (RFC 5802, 5.1).
  const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,9})(?:,.*)?$/.exec(message);
  if (!match) throw protocol(`an unreadable challenge`);
  const nonce = match[1]!;
  const salt = Buffer.from(match[2]!, "base64");
  const iterations = Number(match[3]);
  if (!nonce.startsWith(ourNonce) || nonce.length === ourNonce.length) throw protocol("a nonce that is not ours with more behind it");
  if (salt.length === 0 || salt.length > MAX_SALT) throw protocol(`a salt of ${salt.length} bytes`);
  if (iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS)
    throw protocol(`${iterations} iterations, and we do ${MIN_ITERATIONS} to ${MAX_ITERATIONS}`);
  return { nonce, salt, iterations };
}

function escapeName(name: string): string {
  return name.replaceAll("=", "=3D").replaceAll(",", "=2C");
}

function printable(text: string): string {
  return text.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, "?");
}

function protocol(what: string): SaslError {
  return new SaslError("protocol", `the server's SCRAM exchange has ${what}; it is broken or hostile`);
}
