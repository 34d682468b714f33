import { z } from "zod";
import { Check } from "./common.ts";

export const ServerInfo = z.object({
  version: z.string(),
  apiVersion: z.literal("v1"),
  pid: z.int(),
  startedAt: z.iso.datetime(),
});

/** What `doctor` found: the server's machine first, then each host. */
export const DoctorReport = z.object({
  sections: z.array(z.object({ subject: z.string(), checks: z.array(Check) })),
});
export type DoctorReport = z.infer<typeof DoctorReport>;

/** One server-sent event: the thing of `type` with `id` changed; `data` is what it is now, absent when it is gone. */
export const ChangeEvent = z.object({
  type: z.enum(["host", "vm", "network", "storage-pool", "settings", "job", "alert", "overflow"]),
  id: z.string(),
  data: z.unknown().optional(),
});
export type ChangeEvent = z.infer<typeof ChangeEvent>;
