import { Job } from "./job.ts";
import {
  BalancePlan,
  BalanceRequest,
  DrainPlan,
  DrainRequest,
  Placement,
  PlacementRequest,
  PlacementSettings,
  PlacementView,
  ResumeRequest,
} from "./placement.ts";
import { route } from "./route.ts";

const startsJob = { startsJob: true, status: 202, response: Job } as const;

/** Where VMs run: rules, draining, resuming, balancing. */
export const placementRoutes = {
  placementGet: route({
    method: "GET",
    path: "/placement",
    tag: "placement",
    summary: "Rules, tags, sites and workload profiles",
    response: PlacementView,
  }),
  placementSet: route({
    method: "PUT",
    path: "/placement",
    tag: "placement",
    summary: "Put rules, tags, sites and own profiles as a whole",
    body: PlacementSettings,
    response: PlacementView,
  }),
  vmPlacement: route({
    method: "POST",
    path: "/vms/{vm}/placement",
    tag: "placement",
    summary: "Which host would take a VM, and why every other would not",
    body: PlacementRequest,
    response: Placement,
  }),
  hostDrainPlan: route({
    method: "POST",
    path: "/hosts/{host}/drain-plan",
    tag: "placement",
    summary: "What a drain would do with every VM of a host",
    body: DrainRequest,
    response: DrainPlan,
  }),
  hostDrain: route({
    method: "POST",
    path: "/hosts/{host}/drain",
    tag: "placement",
    summary: "Move every VM off a host, and let none land on it",
    body: DrainRequest,
    ...startsJob,
  }),
  hostResume: route({
    method: "POST",
    path: "/hosts/{host}/resume",
    tag: "placement",
    summary: "End a host's maintenance, and bring back what was moved",
    body: ResumeRequest,
    ...startsJob,
  }),
  clusterBalancePlan: route({
    method: "POST",
    path: "/cluster/balance-plan",
    tag: "placement",
    summary: "Which moves would relieve hosts that are too full",
    body: BalanceRequest,
    response: BalancePlan,
  }),
  clusterBalance: route({
    method: "POST",
    path: "/cluster/balance",
    tag: "placement",
    summary: "Relieve hosts that are too full",
    body: BalanceRequest,
    ...startsJob,
  }),
} as const;
