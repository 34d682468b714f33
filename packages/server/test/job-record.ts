import type { JobRecord } from "@godwit/engine";

export function jobRecord(id: string, change: Partial<JobRecord> = {}): JobRecord {
  return {
    id,
    kind: "vm.start",
    title: `Start ${id}`,
    subject: { type: "vm", id: "vm-1", name: "web" },
    state: "queued",
    createdAt: "2026-01-01T00:00:00.000Z",
    waitingFor: [],
    steps: [],
    reasons: [],
    log: [],
    input: { vm: "vm-1" },
    cancelRequested: false,
    attempt: 0,
    lease: { owner: "one", until: 1000 },
    ...change,
  };
}
