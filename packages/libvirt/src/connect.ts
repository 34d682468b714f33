import { type Connection, connectOver, type ConnectOptions } from "./connection.ts";
import { authenticator, type SaslOptions } from "./sasl/index.ts";
import { openTransport, type OpenTransportOptions } from "./transport/open.ts";
import { type LibvirtUri, parseUri } from "./uri/index.ts";

export interface ConnectUriOptions extends ConnectOptions, Omit<OpenTransportOptions, "signal" | "readOnly"> {
  /** For daemons that want SASL. `authenticator`, when given, takes the place of this and of the URI's `auth=`. */
  readonly sasl?: SaslOptions | undefined;
}

/**
 * Connects to the daemon and driver of a libvirt URI. Throws what `parseUri`, `openTransport` and
 * `connectOver` throw; nothing stays open then.
 */
export async function connect(uri: string | LibvirtUri, options: ConnectUriOptions = {}): Promise<Connection> {
  const parsed = typeof uri === "string" ? parseUri(uri) : uri;
  const login = options.authenticator ?? authenticator({ ...options.sasl, auth: parsed.connection.auth });
  const transport = await openTransport(parsed, options);
  return connectOver(transport, { ...options, driverUri: parsed.driverUri, authenticator: login });
}
