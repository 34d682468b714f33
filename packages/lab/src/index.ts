export { type LabNetwork, type NetworkName, networkNames, type NetworkOptions } from "./addresses.ts";
export { LabError, type LabErrorKind } from "./error.ts";
export { LabHost } from "./host.ts";
export { stopLab, sweep } from "./keeper.ts";
export { Lab, type LabOptions, type LabRecord, listLabs, openLab, startDetachedLab, startLab } from "./lab.ts";
export type { RunOptions, RunResult } from "./process.ts";
export type { SshAccess } from "./ssh-keys.ts";
