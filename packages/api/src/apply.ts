import { z } from "zod";

/** One difference between the file and what is. */
export const Change = z.object({
  action: z.enum(["add", "change", "remove"]),
  /** Where in the file: `networks[1].role`. */
  path: z.string(),
  /** What it is about, for people: `network storage`. */
  subject: z.string(),
  before: z.unknown().optional(),
  after: z.unknown().optional(),
});
export type Change = z.infer<typeof Change>;

export const ApplyRequest = z.object({
  /** The YAML text as it stands in the file. */
  document: z.string().max(1 << 20),
  /** The file's name, for messages and `managedBy`. */
  fileName: z.string().max(255).default("cluster.yaml"),
  dryRun: z.boolean().default(false),
});
export type ApplyRequest = z.input<typeof ApplyRequest>;

export const ApplyResult = z.object({
  dryRun: z.boolean(),
  changes: z.array(Change),
});
export type ApplyResult = z.infer<typeof ApplyResult>;
