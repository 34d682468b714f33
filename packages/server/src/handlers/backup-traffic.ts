import type { Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";

type Names =
  | "backupTrafficGet"
  | "backupTrafficSet"
  | "backupTrafficExplain"
  | "backupNetworkList"
  | "backupNetworkAdd"
  | "backupNetworkSet"
  | "backupNetworkRemove";

export function backupTrafficHandlers({ networks, inventory, protection }: Services): Pick<Handlers, Names> {
  const { backupNetworks } = networks;
  return {
    backupTrafficGet: () => networks.backupTraffic(),
    backupTrafficSet: ({ body }) => networks.setBackupTraffic(body),
    async backupTrafficExplain({ params, signal }) {
      const { id, name } = inventory.host(params.host);
      const [verdicts, routes] = await Promise.all([networks.backupVerdicts(id, { signal }), protection.routes(id, { signal })]);
      return { host: name, networks: verdicts, routes };
    },
    async backupNetworkList({ query }) {
      const rows = await backupNetworks.list(query);
      return pageOf(rows, ({ host, priority, subnet }) => [host, String(priority).padStart(10, "0"), subnet], query);
    },
    backupNetworkAdd: ({ params, body }) => backupNetworks.add(params.host, body),
    backupNetworkSet: async ({ params, body: { subnet, newSubnet, newPriority } }) => ({
      items: await backupNetworks.set(params.host, { subnet, newSubnet, newPriority }),
    }),
    async backupNetworkRemove({ params, query }) {
      await backupNetworks.remove(params.host, query.subnet);
      return undefined;
    },
  };
}
