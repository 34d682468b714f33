export * from "./domain.ts";
export * from "./error.ts";
export * from "./events.ts";
export * from "./host.ts";
export * from "./jobs.ts";
export * from "./network.ts";
export * from "./stats.ts";
export * from "./storage.ts";
