import { STATUS_CODES } from "node:http";
import type { Host, HostMigrationSettings as ApiHostMigration, Job, Vm } from "@godwit/api";
import type { HostMigrationSettings, HostView, JobError, JobRecord, VmView } from "@godwit/engine";
import type { Answer } from "../http/contract.ts";
import type { PlacementService } from "../services.ts";

/** A job as clients see it: without lease and attempts, its error as problem details. */
export function jobView(record: JobRecord): Answer<Job> {
  const { lease: _, cancelRequested: __, attempt: ___, asked: ____, error, ...job } = record;
  return { ...job, ...(error ? { error: problemOfJob(error) } : {}) };
}

function problemOfJob({ kind, message, checks }: JobError): NonNullable<Answer<Job>["error"]> {
  const status = kind === "refused" ? 422 : kind === "not-found" ? 404 : 500;
  return {
    type: `urn:godwit:problem:${kind}`,
    title: STATUS_CODES[status] ?? "Error",
    status,
    kind,
    detail: message,
    ...(checks ? { checks } : {}),
  };
}

/** The unfinished job of each VM, running ones before queued ones. */
export function jobsByVm(unfinished: readonly JobRecord[]): ReadonlyMap<string, string> {
  const jobs = new Map<string, string>();
  for (const queued of [false, true]) {
    for (const { id, subject, state } of unfinished) {
      if (subject.type === "vm" && (state === "queued") === queued && !jobs.has(subject.id)) jobs.set(subject.id, id);
    }
  }
  return jobs;
}

export function hostView(host: HostView, placement: Pick<PlacementService, "maintenance">): Answer<Host> {
  const record = placement.maintenance(host.id);
  if (!record) return host;
  const { returning: _, ...maintenance } = record;
  return { ...host, maintenance };
}

export function vmView(vm: VmView, jobs: ReadonlyMap<string, string>): Answer<Vm> {
  const jobId = jobs.get(vm.id);
  return { ...vm, ...(jobId === undefined ? {} : { jobId }) };
}

export function hostMigrationView(
  host: { readonly id: string; readonly name: string },
  settings: HostMigrationSettings,
): Answer<ApiHostMigration> {
  const owner = { hostId: host.id, host: host.name };
  return { ...owner, ...settings, networks: settings.networks.map((network) => ({ ...owner, ...network })) };
}
