import type { Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";

type Names = "networkList" | "networkGet" | "networkEdit" | "networkProbe" | "networkInterfaceList";

export function networkHandlers({ inventory, networks }: Services): Pick<Handlers, Names> {
  return {
    networkList: ({ query }) => pageOf(networks.list(), ({ name, id }) => [name, id], query),
    networkGet: ({ params }) => networks.get(params.network),
    networkEdit: ({ params, body }) => networks.edit(params.network, body),
    async networkProbe({ signal }) {
      await networks.refresh({ signal });
      return { items: networks.list() };
    },
    networkInterfaceList({ query }) {
      const filter = {
        ...(query.host === undefined ? {} : { hostId: inventory.host(query.host).id }),
        ...(query.network === undefined ? {} : { networkId: networks.get(query.network).id }),
      };
      return pageOf(networks.interfaces(filter), (row) => [row.network, row.host, row.interface], query);
    },
  };
}
