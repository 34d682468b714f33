import { GodwitError } from "@godwit/core";

/**
 * - `mechanism`: the daemon offers nothing that we can do, or that the caller allows
 * - `insecure`: the channel is not encrypted
 * - `credentials`: user or password is missing, or cannot be used
 * - `rejected`: the daemon refused the login
 * - `server`: the server could not prove that it knows the password: it is not who it says
 * - `protocol`: the server's messages make no sense, or ask for unreasonable work
 */
export type SaslErrorKind = "mechanism" | "insecure" | "credentials" | "rejected" | "server" | "protocol";

export class SaslError extends GodwitError<SaslErrorKind> {
  override readonly name = "SaslError";
}
