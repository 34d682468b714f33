import type { WorkloadProfile } from "../rules.ts";

export const domainController: WorkloadProfile = {
  name: "domain-controller",
  title: "Active Directory domain controller",
  tags: ["domain-controller", "dc"],
  allowedKinds: ["live", "shared-nothing", "cold"],
  savedState: "never",
  vmGenerationId: "needed",
  dynamicMemory: "allowed",
  advice: [
    "switch the host's time synchronization off in the guest: the domain has its own",
    "a snapshot or a copied disk is no backup of it",
  ],
  source:
    "Microsoft, Virtualized Domain Controllers (2012 and later): live migration yes; snapshots, export and copies no; VM-GenerationID",
};
