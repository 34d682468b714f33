import { z } from "zod";

/** A point in time: RFC 3339 in UTC. */
export const Timestamp: z.ZodISODateTime = z.iso.datetime();

/** Letters, digits and `._-`, starting with a letter or digit; at most 63. */
export const Name: z.ZodString = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "letters, digits and ._-, starting with a letter or digit, at most 63");

/** Why something is as it is: `code` is stable and for programs, `text` is for people. */
export const Reason = z.object({
  code: z.string(),
  text: z.string(),
});
export type Reason = z.infer<typeof Reason>;

/** One test of a preflight or of `doctor`. `remedy` says what to do; it is there whenever the verdict is not `pass`. */
export const Check = z.object({
  id: z.string(),
  verdict: z.enum(["pass", "warn", "fail", "not-applicable"]),
  text: z.string(),
  remedy: z.string().optional(),
});
export type Check = z.infer<typeof Check>;

/** Problem details, RFC 9457. `kind` is the stable name of the error; `checks` are the reasons of a refusal. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  instance: z.string().optional(),
  kind: z.string(),
  context: z.record(z.string(), z.unknown()).optional(),
  checks: z.array(Check).optional(),
});
export type Problem = z.infer<typeof Problem>;

/** Paging by an opaque cursor. */
export const PageQuery = z.object({
  cursor: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(200),
});

/** One page; `next` is the cursor of the following one, absent on the last. */
export function pageOf<T extends z.ZodType>(item: T): z.ZodObject<{ items: z.ZodArray<T>; next: z.ZodOptional<z.ZodString> }> {
  return z.object({ items: z.array(item), next: z.string().optional() });
}
export interface Page<T> {
  items: T[];
  next?: string | undefined;
}
