export type { CommandResult, HostShell } from "./ports/shell.ts";
export type { Collection, JobFilter, JobStore, Store } from "./ports/store.ts";
export type { HostEvent, HypervisorHost } from "./ports/hypervisor.ts";
export * from "./jobs/job.ts";
export * from "./model/errors.ts";
export * from "./model/host.ts";
export * from "./model/network.ts";
export * from "./model/reason.ts";
export * from "./model/vm.ts";
