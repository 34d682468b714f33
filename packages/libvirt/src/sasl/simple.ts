import { SaslError } from "./errors.ts";
import type { SaslCredentials, SaslExchange } from "./mechanism.ts";

/** A mechanism of one message, which the server answers with success or failure. */
class OneMessage implements SaslExchange {
  readonly satisfied = true;
  readonly #message: string;

  constructor(message: string) {
    this.#message = message;
  }

  first(): Uint8Array {
    return Buffer.from(this.#message);
  }

  async next(challenge: Uint8Array): Promise<Uint8Array | null> {
    if (challenge.length === 0) return null;
    throw new SaslError("protocol", "the server asks for more after a mechanism that has one message; it is broken or hostile");
  }
}

/** PLAIN (RFC 4616): shows the password to the server, so only for channels that nobody else can read. */
export function plain({ username, password, actAs = "" }: SaslCredentials): SaslExchange {
  if (username === "" || password === "") throw new SaslError("credentials", "SASL PLAIN needs a user name and a password; give both");
  if ([username, password, actAs].some((text) => text.includes("\0")))
    throw new SaslError("credentials", "SASL user names and passwords cannot contain NUL; choose others");
  return new OneMessage(`${actAs}\0${username}\0${password}`);
}

/** EXTERNAL (RFC 4422, A): the channel itself, such as a TLS client certificate, says who we are. */
export function external(actAs = ""): SaslExchange {
  return new OneMessage(actAs);
}

/** ANONYMOUS (RFC 4505). */
export function anonymous(): SaslExchange {
  return new OneMessage("godwit");
}
