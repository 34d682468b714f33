import { z } from "zod";

const text = z.string().min(1).max(255);
const name = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected letters, digits and ._-, starting with a letter or digit");
const names = z.array(text).min(1).max(1000);

const Selector = z.strictObject({
  names: names.optional(),
  tags: names.optional(),
  where: z
    .strictObject({
      minimumMemoryBytes: z.int().min(0).optional(),
      maximumMemoryBytes: z.int().min(0).optional(),
      minimumVcpus: z.int().min(0).optional(),
      guestNetworks: names.optional(),
    })
    .optional(),
});

const Rule = z.strictObject({
  name,
  vms: Selector,
  possibleHosts: names.optional(),
  preferredHosts: names.optional(),
  keepApart: z.enum(["prefer", "enforce"]).optional(),
  keepTogether: z.enum(["host", "site"]).optional(),
  spreadOver: z.enum(["hosts", "sites"]).optional(),
  priority: z.enum(["high", "medium", "low", "no-auto-start"]).optional(),
  startGroup: z.int().min(-1000).max(1000).optional(),
  maximumPauseMs: z.int().min(1).max(60_000).optional(),
  pausePolicy: z.enum(["strict", "auto-converge", "post-copy", "suspend-at-last"]).optional(),
  profile: name.optional(),
});

const Profile = z.strictObject({
  name,
  title: text,
  tags: z.array(text).max(100).default([]),
  allowedKinds: z
    .array(z.enum(["live", "shared-nothing", "quick", "cold"]))
    .min(1)
    .max(4),
  savedState: z.enum(["allowed", "never"]).default("never"),
  maximumPauseMs: z.int().min(1).max(60_000).optional(),
  vmGenerationId: z.enum(["needed", "not-needed"]).default("not-needed"),
  dynamicMemory: z.enum(["allowed", "never"]).default("allowed"),
  maximumVcpusPerCpu: z.number().min(0.1).max(100).optional(),
  advice: z.array(z.string().max(500)).max(20).default([]),
  source: z.string().max(500).default("the site's own"),
});

/** `placement` of a cluster file. Each key replaces all that was; a key that is not there is left as it is. */
export const PlacementSection = z.strictObject({
  sites: z.record(text, text).optional(),
  tags: z
    .array(z.strictObject({ vms: names, tags: names }))
    .max(10_000)
    .optional(),
  rules: z.array(Rule).max(10_000).optional(),
  profiles: z.array(Profile).max(100).optional(),
  /** `null` ends it. */
  balance: z
    .strictObject({ everyMinutes: z.int().min(10).max(1440), abovePercent: z.int().min(30).max(99).default(80) })
    .nullable()
    .optional(),
});
export type PlacementSection = z.infer<typeof PlacementSection>;
