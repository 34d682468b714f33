export { authenticator, type AuthenticatorOptions } from "./authenticator.ts";
export { authenticateSasl, type SaslCalls, type SaslMechanismName, type SaslOptions } from "./authenticate.ts";
export { SaslError, type SaslErrorKind } from "./errors.ts";
export type { SaslCredentials } from "./mechanism.ts";
