import type { WorkloadProfile } from "../rules.ts";

export const sqlServer: WorkloadProfile = {
  name: "sql-server",
  title: "SQL Server",
  tags: ["sql", "sql-server"],
  allowedKinds: ["live", "shared-nothing", "cold"],
  savedState: "never",
  maximumPauseMs: 1000,
  vmGenerationId: "not-needed",
  dynamicMemory: "allowed",
  advice: ["members of a guest cluster or availability group belong under a rule that keeps them apart"],
  source: "Microsoft, SQL Server on validated hypervisors: live migration and guest clusters yes; saved state is no backup",
};
