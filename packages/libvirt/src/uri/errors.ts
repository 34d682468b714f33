import { GodwitError } from "@godwit/core";

/**
 * - `syntax`: the text is not a libvirt URI
 * - `unsupported`: libvirt takes it, this client does not (or not in this place)
 * - `insecure`: it asks for less security than we give without an explicit option beside the URI
 */
export type UriErrorKind = "syntax" | "unsupported" | "insecure";

/** Something about a libvirt URI. `context.part` names the part: `scheme`, `user`, `host`, `port`, `path`, `?socket`… */
export class UriError extends GodwitError<UriErrorKind> {
  override readonly name = "UriError";

  constructor(kind: UriErrorKind, part: string, message: string, options?: ErrorOptions) {
    super(kind, `libvirt URI, ${part}: ${message}`, { part }, options);
  }
}
