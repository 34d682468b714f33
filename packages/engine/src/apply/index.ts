export { InventoryTarget, type InventoryTargetOptions } from "./inventory-target.ts";
export { applyClusterFile, type ApplyOptions } from "./apply.ts";
export type { Change } from "./draft.ts";
export type { ApplyTarget, CheckedHost, GroupsTarget, KnownHost, WantedHost } from "./target.ts";
