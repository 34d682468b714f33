import type { Alert, ProtectionGroup as GroupAnswer, StoragePlan, StoragePlanRequest } from "@godwit/api";
import { type AlertRecord, type Alerts, EngineError, plannedMembers, planStorage, type ProtectionGroups } from "@godwit/engine";
import type { z } from "zod";
import type { Answer, Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";

export type GroupsService = Pick<ProtectionGroups, "views" | "view" | "create" | "edit" | "remove" | "status" | "uncovered" | "records">;

export type AlertsService = Pick<Alerts, "list">;

type Names =
  | "groupList"
  | "groupCreate"
  | "groupGet"
  | "groupEdit"
  | "groupRemove"
  | "protectionStatus"
  | "unprotectedVmList"
  | "alertList"
  | "storagePlan";

export function protectionGroupHandlers({ groups, alerts }: Pick<Services, "groups" | "alerts">): Pick<Handlers, Names> {
  const answer = (ref: string): Promise<Answer<GroupAnswer>> => groups.view(ref);
  return {
    groupList: async ({ query }) => pageOf(await groups.views(), ({ name }) => [name], query),
    groupCreate: async ({ body }) => await answer((await groups.create(body)).id),
    groupGet: ({ params }) => answer(params.group),
    groupEdit: async ({ params, body }) => await answer((await groups.edit(params.group, body)).id),
    async groupRemove({ params }) {
      await groups.remove(params.group);
      return undefined;
    },
    protectionStatus: async ({ query }) => pageOf(await groups.status(), ({ group, vm }) => [group, vm], query),
    unprotectedVmList: async ({ query }) =>
      pageOf(
        (await groups.uncovered()).map(({ id, name, host }) => ({ id, name, host })),
        ({ name, id }) => [name, id],
        query,
      ),
    async alertList({ query }) {
      const all = (await alerts.list()).filter(({ resolvedAt }) => query.open !== true || resolvedAt === undefined);
      return pageOf(all.map(alertAnswer), ({ resolvedAt, raisedAt, id }) => [resolvedAt === undefined ? "0" : "1", raisedAt, id], query);
    },
    storagePlan: ({ body }) => storagePlan(groups, body),
  };
}

export function alertAnswer({ id, kind, groupId, group, vmId, vm, text, raisedAt, resolvedAt }: AlertRecord): Alert {
  return { id, kind, groupId, group, vmId, vm, text, raisedAt, ...(resolvedAt !== undefined && { resolvedAt }) };
}

/** A group's members as their runs measured them, with what is given beside them. */
async function storagePlan(groups: GroupsService, body: z.output<typeof StoragePlanRequest>): Promise<Answer<StoragePlan>> {
  const { group: ref, vms: given, retention, pointsPerDay, ...rest } = body;
  const group = ref === undefined ? undefined : await groups.view(ref);
  const measured = group ? plannedMembers(group, await groups.records(group.id), Date.now()) : undefined;
  const vms = [...(measured?.vms ?? []), ...given];
  if (vms.length === 0) {
    const why = group ? `no member of ${group.name} has a point yet, so nothing was measured` : "no VM was given";
    throw new EngineError("invalid", `there is nothing to plan for: ${why}; give planned VMs with their size and daily change`);
  }
  const plan = planStorage({
    ...rest,
    vms,
    retention: retention ?? group?.retention ?? { daily: 30 },
    pointsPerDay: pointsPerDay ?? measured?.pointsPerDay ?? 1,
  });
  const left = (measured?.unmeasured ?? []).map((vm) => `${vm} is left out: it has no point yet`);
  return { ...plan, assumptions: [...plan.assumptions, ...left] };
}
