export type { HostFindings, PortProbe, ServerMachineFacts, ShellFindings } from "./facts.ts";
export { gatherHosts, type GatherOptions } from "./gather.ts";
export { judgeHost } from "./judge-host.ts";
export { judgeServer } from "./judge-server.ts";
