/** Whom to log in as. */
export interface SaslCredentials {
  readonly username: string;
  readonly password: string;
  /** To act as somebody else, where the daemon allows it. */
  readonly actAs?: string | undefined;
}

/** The client's half of one SASL exchange (RFC 4422). Used once. */
export interface SaslExchange {
  /** The initial response; null when the mechanism has none. */
  first(): Uint8Array | null;
  /** The answer to a challenge; null when there is nothing more to say. Throws `SaslError`. */
  next(challenge: Uint8Array): Promise<Uint8Array | null>;
  /** True when the mechanism's own conditions are met, so that the server's "complete" may be believed. */
  readonly satisfied: boolean;
}
