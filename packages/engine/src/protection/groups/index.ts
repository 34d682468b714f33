export { type AlertMessage, type AlertRecord, Alerts } from "./alerts.ts";
export type { GroupDraft, GroupEdit } from "./draft.ts";
export { pointNameOf } from "./model.ts";
export type { GroupLimits, MemberRecord, MemberSelector, ProtectionGroup, Retention, RetryPolicy, RunRecord } from "./model.ts";
export { plannedMembers } from "./planned.ts";
export type { MemberStatus } from "./report.ts";
export type { RunWindow, Schedule } from "./schedule.ts";
export { type GroupView, ProtectionGroups, type ProtectionGroupsOptions } from "./service.ts";
