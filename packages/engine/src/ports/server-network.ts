/** An address of the machine that this server runs on. */
export interface ServerAddress {
  readonly interface: string;
  /** Without prefix length. */
  readonly address: string;
}

/** What the server's own machine has of networks. */
export interface ServerNetwork {
  addresses(): readonly ServerAddress[];
  /**
   * Whether somebody is at `to`, asked from our address `from`: undefined when a connection or its refusal came back,
   * else why not. Never rejects but on abort.
   */
  probe(from: string, to: string, port: number, options: { readonly signal: AbortSignal }): Promise<string | undefined>;
}
