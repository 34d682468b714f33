import { GodwitError } from "@godwit/core";

/**
 * - `connect`: the SSH server was not reached, or its handshake failed
 * - `host-key-unknown`: nobody vouched for the host's key yet
 * - `host-key-changed`: another key is known for the host
 * - `host-key-revoked`: the key is marked `@revoked`
 * - `authentication`: the server took none of our keys
 * - `config`: ssh_config, a key file or an option cannot be used
 * - `closed`: the session ended while it was in use, also by a dead link
 * - `channel`: the server refused a command or a forwarding
 * - `remote`: the command on the other side failed
 * - `timeout`, `output-limit`: the bounds of one `exec`, or of opening the session
 */
export type SshErrorKind =
  | "connect"
  | "host-key-unknown"
  | "host-key-changed"
  | "host-key-revoked"
  | "authentication"
  | "config"
  | "closed"
  | "channel"
  | "remote"
  | "timeout"
  | "output-limit";

export class SshError extends GodwitError<SshErrorKind> {
  override readonly name = "SshError";
}
