import { EngineError } from "@godwit/engine";
import type { Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";
import { hostView, jobsByVm, jobView, vmView } from "./views.ts";

type Names = "hostList" | "hostAdd" | "hostGet" | "hostRemove" | "storagePoolList" | "vmList" | "vmGet" | "vmStart" | "vmStop";

export function inventoryHandlers({ inventory, jobs, placement }: Services): Pick<Handlers, Names> {
  const hostId = (ref: string | undefined): string | undefined => (ref === undefined ? undefined : inventory.host(ref).id);
  const ofHost = <T extends { readonly hostId: string }>(items: readonly T[], ref: string | undefined): T[] => {
    const id = hostId(ref);
    return items.filter((item) => id === undefined || item.hostId === id);
  };
  return {
    hostList({ query }) {
      const page = pageOf(inventory.hosts(), ({ name, id }) => [name, id], query);
      return { ...page, items: page.items.map((host) => hostView(host, placement)) };
    },
    hostAdd: ({ body, signal }) => inventory.addHost(body, { signal }),
    hostGet: ({ params }) => hostView(inventory.host(params.host), placement),
    async hostRemove({ params }) {
      await inventory.removeHost(params.host);
      return undefined;
    },
    storagePoolList: ({ query }) => pageOf(ofHost(inventory.pools(), query.host), ({ host, name }) => [host, name], query),
    vmList({ query }) {
      const page = pageOf(ofHost(inventory.vms(), query.host), ({ name, id, hostId }) => [name, id, hostId], query);
      const running = jobsByVm(jobs.unfinished());
      return { ...page, items: page.items.map((vm) => vmView(vm, running)) };
    },
    vmGet: ({ params }) => vmView(inventory.vm(params.vm), jobsByVm(jobs.unfinished())),
    async vmStart({ params, idempotencyKey }) {
      const { id, name } = inventory.vm(params.vm);
      return jobView(await jobs.submit("vm.start", { vmId: id, vm: name }, { idempotencyKey }));
    },
    async vmStop({ params, body, idempotencyKey }) {
      const { id, name, state } = inventory.vm(params.vm);
      if (state === "unknown") throw new EngineError("host-lost", `nobody knows how ${name} is: its host does not answer`, { vm: name });
      return jobView(await jobs.submit("vm.stop", { vmId: id, vm: name, ...body }, { idempotencyKey }));
    },
  };
}
