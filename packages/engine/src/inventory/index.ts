export type { InventoryChange } from "./changes.ts";
export type { OpenHost } from "./host-link.ts";
export { Inventory, type InventoryOptions, type NewHost } from "./inventory.ts";
export { type Log, noLog } from "./log.ts";
export { defaultTiming, type InventoryTiming } from "./timing.ts";
export type { VmConflict } from "./vm-map.ts";
