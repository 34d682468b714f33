import { LibvirtError } from "./errors.ts";
import type { RemoteProgram } from "./protocol/generated/remote.ts";
import type { AuthType } from "./protocol/generated/types.ts";
import type { Transport } from "./transport/transport.ts";

/** What an {@link Authenticator} may use of a connection that is not open yet. */
export interface AuthSession {
  /** Only the `auth…` calls are answered before authentication is done. */
  readonly remote: Pick<RemoteProgram, "authSaslInit" | "authSaslStart" | "authSaslStep" | "authPolkit">;
  readonly transport: Pick<Transport, "description" | "secure">;
  /** Fires when opening takes too long or is cancelled. */
  readonly signal: AbortSignal;
}

/** Proves who we are to a daemon that wants to know. */
export interface Authenticator {
  /**
   * Called at most once, when the daemon does not offer `none`. `types` are what it offers, in its order, never empty. Resolves when
   * the daemon accepted us; rejects with `LibvirtError("auth")` when there is no common way, or it refused.
   */
  authenticate(types: readonly AuthType[], session: AuthSession): Promise<void>;
}

/**
 * Authenticates with what needs no secrets: polkit decides by the identity that the kernel gives the daemon
 * (a daemon that asks for a password through an agent refuses).
 */
export const withoutCredentials: Authenticator = {
  async authenticate(types, { remote, transport, signal }) {
    if (!types.includes("polkit")) {
      throw new LibvirtError("auth", `${transport.description}: the daemon wants ${types.join(" or ")}, and no credentials were given`, {
        types,
      });
    }
    try {
      await remote.authPolkit({ signal });
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.kind !== "libvirt") throw error;
      throw new LibvirtError("auth", `${transport.description}: polkit refused`, {}, { cause: error });
    }
  },
};
