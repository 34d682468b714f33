import { z } from "zod";
import { Check, Timestamp } from "./common.ts";
import { Job } from "./job.ts";
import { route } from "./route.ts";

const Verdict = Check.shape.verdict;

/** The CPU that all hosts of the cluster can give their guests. */
export const CpuBaseline = z.object({
  model: z.string().optional(),
  vendor: z.string().optional(),
  features: z.array(z.string()),
  /** For the `<cpu>` of a VM's definition; absent when the hosts have no model in common. */
  document: z.string().optional(),
  hosts: z.array(
    z.object({
      hostId: z.string(),
      host: z.string(),
      model: z.string().optional(),
      vendor: z.string().optional(),
      /** What it has beyond the common set. */
      beyond: z.array(z.string()),
      problem: z.string().optional(),
    }),
  ),
  /** Running VMs that were given more, and so stop a narrowing. */
  vms: z.array(z.object({ vmId: z.string(), vm: z.string(), host: z.string(), beyond: z.array(z.string()), text: z.string() })),
  text: z.string(),
});
export type CpuBaseline = z.infer<typeof CpuBaseline>;

export const CompareRequest = z.object({
  /** Only with this host, id or name. */
  to: z.string().min(1).optional(),
});

/** What keeps a VM from each host; mend the findings and ask again. */
export const ComparisonReport = z.object({
  vmId: z.string(),
  vm: z.string(),
  host: z.string(),
  hosts: z.array(z.object({ hostId: z.string(), host: z.string(), compatible: z.boolean(), findings: z.array(Check) })),
});
export type ComparisonReport = z.infer<typeof ComparisonReport>;

/** `at-next-start`: the guest runs, and has it once it is started anew. */
export const GenerationIdResult = z.object({
  vmId: z.string(),
  vm: z.string(),
  host: z.string(),
  outcome: z.enum(["there", "added", "at-next-start"]),
});
export type GenerationIdResult = z.infer<typeof GenerationIdResult>;

export const ValidationTest = z.object({
  category: z.enum(["inventory", "system", "access", "network", "storage", "migration", "cpu"]),
  name: z.string(),
  verdict: Verdict,
  checks: z.array(Check),
});
export type ValidationTest = z.infer<typeof ValidationTest>;

/** As `Test-Cluster` reports. A verdict is the worst of what is under it. */
export const ValidationReport = z.object({
  startedAt: Timestamp,
  endedAt: Timestamp,
  hosts: z.array(z.string()),
  verdict: Verdict,
  tests: z.array(ValidationTest),
});
export type ValidationReport = z.infer<typeof ValidationReport>;

export const ValidationRequest = z.object({
  /** A job of `/cluster/migration-trials` that has ended: what it tried becomes part of the report. */
  trials: z.string().min(1).optional(),
});

export const validationRoutes = {
  cpuBaseline: route({
    method: "POST",
    path: "/cpu/baseline",
    tag: "validation",
    summary: "The CPU that all hosts have in common, and which VMs have more",
    response: CpuBaseline,
  }),
  vmCompare: route({
    method: "POST",
    path: "/vms/{vm}/compare",
    tag: "validation",
    summary: "Everything that keeps a VM from other hosts",
    body: CompareRequest,
    response: ComparisonReport,
  }),
  vmGenerationId: route({
    method: "POST",
    path: "/vms/{vm}/generation-id",
    tag: "validation",
    summary: "Give a VM a VM-Generation-ID, by which it notices that it was rolled back or copied",
    response: GenerationIdResult,
  }),
  clusterTryMigrations: route({
    method: "POST",
    path: "/cluster/migration-trials",
    tag: "validation",
    summary: "Move a tiny throw-away guest between every pair of hosts",
    startsJob: true,
    status: 202,
    response: Job,
  }),
  clusterValidate: route({
    method: "POST",
    path: "/cluster/validate",
    tag: "validation",
    summary: "Test the cluster, as Test-Cluster does",
    body: ValidationRequest,
    response: ValidationReport,
  }),
} as const;
