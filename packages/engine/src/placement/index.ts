export type { Path, PlacementReason, Site, SiteHost, SiteVm } from "./model.ts";
export { type HostVerdict, place, type Placement, type PlaceOptions } from "./place.ts";
export { policiesOf, type VmPolicy } from "./policy.ts";
export { allProfiles, builtInProfiles } from "./profiles/index.ts";
export * from "./rules.ts";
