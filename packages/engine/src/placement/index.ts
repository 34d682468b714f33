export type { Path, PlacementReason, Site, SiteHost, SiteVm } from "./model.ts";
export { type HostVerdict, place, type Placement, type PlaceOptions } from "./place.ts";
export { policiesOf, taggerOf, type VmPolicy } from "./policy.ts";
export { allProfiles, builtInProfiles } from "./profiles/index.ts";
export * from "./rules.ts";
export type { PlacementHosts, PlacementNetworks } from "./gather.ts";
export { Maintenance, type MaintenanceOptions } from "./maintenance.ts";
export { Placements, type PlacementsOptions, type ProvenPlacement } from "./service.ts";
