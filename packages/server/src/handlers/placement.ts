import type { MigrationRequest, PlacementView } from "@godwit/api";
import { builtInProfiles, type Check, EngineError, type PlacementSettings, refusal } from "@godwit/engine";
import type { z } from "zod";
import type { Answer, Handlers } from "../http/contract.ts";
import type { Services, WantedMigration } from "../services.ts";
import { jobView } from "./views.ts";

type Names =
  | "placementGet"
  | "placementSet"
  | "vmPlacement"
  | "hostDrainPlan"
  | "hostDrain"
  | "hostResume"
  | "clusterBalancePlan"
  | "clusterBalance";

export function placementHandlers({ inventory, placement, jobs }: Services): Pick<Handlers, Names> {
  return {
    placementGet: async () => view(await placement.settings()),
    placementSet: async ({ body }) => view(await placement.replaceSettings(body)),
    vmPlacement: ({ params, body, signal }) => placement.choose(params.vm, { to: body.to, signal }),
    hostDrainPlan: ({ params, body, signal }) => placement.drainPlan(params.host, { to: body.to, signal }),
    async hostDrain({ params, body, idempotencyKey }) {
      const { id, name } = inventory.host(params.host);
      const to = (body.to ?? []).map((ref) => inventory.host(ref).id);
      const input = { hostId: id, host: name, to, partial: body.partial, ...(body.waitForCapture === true && { waitForCapture: true }) };
      return jobView(await jobs.submit("host.drain", input, { idempotencyKey }));
    },
    async hostResume({ params, body, idempotencyKey }) {
      const { id, name } = inventory.host(params.host);
      const draining = jobs.unfinished().some(({ kind, subject }) => kind === "host.drain" && subject.id === id);
      if (!placement.maintenance(id) && !draining) throw new EngineError("conflict", `${name} is not in maintenance`, { host: name });
      return jobView(await jobs.submit("host.resume", { hostId: id, host: name, failback: body.failback }, { idempotencyKey }));
    },
    clusterBalancePlan: ({ body, signal }) => placement.balancePlan({ actAbove: body.actAbovePercent / 100, signal }),
    clusterBalance: async ({ body, idempotencyKey }) =>
      jobView(await jobs.submit("cluster.balance", { actAbove: body.actAbovePercent / 100 }, { idempotencyKey })),
  };
}

function view(settings: PlacementSettings): Answer<PlacementView> {
  return { ...settings, builtInProfiles };
}

/** A live migration is promised what the VM's workload and rules say, unless something else was asked for. */
async function withContract(
  { placement }: Services,
  vm: string,
  body: z.output<typeof MigrationRequest>,
): Promise<z.output<typeof MigrationRequest>> {
  if (body.kind === "quick" || body.kind === "cold") return body;
  const { maximumPauseMs, pausePolicy } = await placement.contract(vm);
  const policy = body.policy ?? (body.autoConverge ? undefined : pausePolicy);
  return { ...body, maximumPauseMs: body.maximumPauseMs ?? maximumPauseMs, policy };
}

/** Chooses the host of a migration that names none. Throws `refused` with every host's reasons when none takes the VM. */
export async function withDestination(
  services: Services,
  vm: string,
  body: z.output<typeof MigrationRequest>,
  signal: AbortSignal,
): Promise<WantedMigration> {
  const wanted = await withContract(services, vm, body);
  if (wanted.to !== undefined) return { ...wanted, to: wanted.to };
  const { hostId, storagePool, hosts, reason } = await services.placement.choose(vm, { signal });
  if (hostId !== undefined) return { ...wanted, to: hostId, storagePool: wanted.storagePool ?? storagePool };
  const checks = hosts.map(({ host, reasons, changes }): Check => ({
    id: host,
    verdict: "fail",
    text: reasons.map(({ text }) => text).join("; "),
    remedy: changes.join("; "),
  }));
  throw refusal(reason.text, checks);
}
