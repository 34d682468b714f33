export { migrationJob, peerUri } from "./job.ts";
export type { InterfaceProof, MigrationAttempt, MigrationInput, MigrationPlan, MigrationResult, MigrationWish } from "./model.ts";
export { type MigrationHosts, type MigrationNetworks, Migrations, type MigrationsOptions } from "./service.ts";
