export type { PowerHosts, PowerResult } from "./hosts.ts";
export { vmStartKind, type VmStartInput } from "./start.ts";
export { vmStopKind, type VmStopInput } from "./stop.ts";
