import type { Duplex } from "node:stream";

/**
 * A byte channel to a libvirt daemon. The RPC core knows nothing else about sockets.
 * `stream` carries raw bytes both ways with Node's back-pressure; it ends or errors when the peer is gone.
 */
export interface Transport extends AsyncDisposable {
  readonly stream: Duplex;
  /** For messages, without secrets: `unix:/run/libvirt/libvirt-sock`, `ssh://root@host (virt-ssh-helper)`. */
  readonly description: string;
  /** The daemon is authenticated and nobody can read along (Unix socket, TLS, SSH): PLAIN is allowed only here. */
  readonly secure: boolean;
  /** Idempotent; resolves when the channel and all that it was built on are gone. */
  close(): Promise<void>;
}
