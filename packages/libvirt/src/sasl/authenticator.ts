import { type Authenticator, type AuthSession, withoutCredentials } from "../auth.ts";
import { LibvirtError } from "../errors.ts";
import { authenticateSasl, type SaslMechanismName, type SaslOptions } from "./authenticate.ts";
import { SaslError } from "./errors.ts";

export interface AuthenticatorOptions extends SaslOptions {
  /** The `auth=` of a URI: `sasl`, `sasl.MECHANISM`, `polkit`. Default: what the daemon names first and we can do. */
  readonly auth?: string | undefined;
}

/**
 * Proves who we are with SASL or polkit. Every failure is `LibvirtError("auth")`; for SASL its cause is a
 * `SaslError` that says more.
 */
export function authenticator(options: AuthenticatorOptions = {}): Authenticator {
  return {
    async authenticate(types, session) {
      const { wanted, mechanisms } = readAuth(options.auth);
      const usable = types.filter((type) => type !== "none" && (wanted === undefined || type === wanted));
      const where = session.transport.description;
      const [type] = usable;
      if (type === undefined) {
        throw new LibvirtError(
          "auth",
          `${where}: the daemon wants ${types.join(" or ")}, and the URI's auth= wants ${String(wanted)}; change one`,
          { types },
        );
      }
      if (type === "polkit") return withoutCredentials.authenticate(usable, session);
      return sasl(session, { ...options, mechanisms: mechanisms ?? options.mechanisms });
    },
  };
}

async function sasl({ remote, transport, signal }: AuthSession, options: SaslOptions): Promise<void> {
  try {
    await authenticateSasl(remote, { ...options, secure: transport.secure, signal });
  } catch (error) {
    if (!(error instanceof SaslError)) throw error;
    throw new LibvirtError("auth", `${transport.description}: no SASL login`, { sasl: error.kind }, { cause: error });
  }
}

function readAuth(auth: string | undefined): { wanted?: "sasl" | "polkit"; mechanisms?: readonly SaslMechanismName[] } {
  if (auth === undefined) return {};
  const [type, ...mechanism] = auth.split(".");
  const name = mechanism.join(".").toUpperCase();
  if (type === "polkit" && name === "") return { wanted: "polkit" };
  if (type === "sasl") return name === "" ? { wanted: "sasl" } : { wanted: "sasl", mechanisms: [name as SaslMechanismName] };
  throw new LibvirtError("auth", `auth=${auth} is unknown; use sasl, sasl.MECHANISM or polkit`, { auth });
}
