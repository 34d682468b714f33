import type { WorkloadProfile } from "../rules.ts";

export const exchangeDagMember: WorkloadProfile = {
  name: "exchange-dag-member",
  title: "Exchange mailbox server in a database availability group",
  tags: ["exchange", "exchange-dag", "exchange-dag-member"],
  allowedKinds: ["live", "shared-nothing", "cold"],
  savedState: "never",
  maximumPauseMs: 2000,
  vmGenerationId: "not-needed",
  dynamicMemory: "never",
  maximumVcpusPerCpu: 2,
  advice: [
    "raise SameSubnetThreshold and CrossSubnetThreshold of the guest cluster, so that the pause does not evict a node",
    "host clustering may only restart it cold, never from a saved state",
  ],
  source:
    "Microsoft, Exchange 2016/2019 virtualization: live migration yes; saved state, snapshots and dynamic memory no; 2 vCPUs per core",
};
