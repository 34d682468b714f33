import type { BackupTrafficSettings, HostMigrationSettings, NetworkInterface, NetworkVerdict } from "../model/network.ts";
import type { ServerNetwork } from "../ports/server-network.ts";
import { contains, parseAddress, parseSubnet } from "./ip.ts";
import type { ClusterNetwork, NetworkHost, NetworkLink } from "./model.ts";
import { selectMigrationNetworks, type SelectionWords } from "./select.ts";

/** The server as an end of the cluster's networks. */
const serverEnd: NetworkHost = { id: "server", name: "the server" };

const words: SelectionWords = { settings: "backup-traffic settings", list: "backup networks", governed: "what it carries" };

export interface BackupSelection {
  readonly host: NetworkHost;
  /** Where the host's sshd listens: the server tries it on each network, and a refusal is an answer. */
  readonly sshPort: number;
  readonly networks: readonly ClusterNetwork[];
  readonly settings: Pick<BackupTrafficSettings, "order" | "exclude">;
  /** The host's own list. */
  readonly hostSettings: Pick<HostMigrationSettings, "useAnyNetwork" | "networks">;
  readonly server: ServerNetwork;
}

/**
 * Every network with its place for what captures of a host read and recoveries to it write: the rules are those of
 * migrations, from the server to the host, and the host's list governs.
 */
export async function backupVerdicts(
  { host, sshPort, networks, settings, hostSettings, server }: BackupSelection,
  { signal }: { readonly signal: AbortSignal },
): Promise<NetworkVerdict[]> {
  const ours = server.addresses();
  const seen = await Promise.all(
    networks.map(async (network): Promise<ClusterNetwork> => {
      const pairs = pairsOn(network, host, ours);
      const links = await Promise.all(
        (settings.exclude.includes(network.id) || network.role === "none" ? [] : pairs).map((pair) =>
          probed(pair, server, sshPort, signal),
        ),
      );
      return { ...network, interfaces: [...network.interfaces, ...serverRows(network, ours)], links };
    }),
  );
  const here = onSameMachine(networks, host, ours);
  return selectMigrationNetworks({
    source: here ? host : serverEnd,
    destination: host,
    networks: seen,
    live: settings,
    destinationSettings: hostSettings,
    words,
  });
}

interface Pair {
  readonly host: NetworkHost;
  readonly from: { readonly interface: string; readonly address: string };
  readonly to: { readonly interface: string; readonly address: string };
}

type Ours = ReturnType<ServerNetwork["addresses"]>;

function onNetwork(network: ClusterNetwork, address: string): string | undefined {
  const parsed = parseAddress(address);
  return parsed && network.subnets.find((subnet) => contains(parseSubnet(subnet)!, parsed));
}

function pairsOn(network: ClusterNetwork, host: NetworkHost, ours: Ours): Pair[] {
  return network.interfaces
    .filter((row) => row.hostId === host.id)
    .flatMap((row) =>
      row.addresses.flatMap((text) => {
        const to = { interface: row.interface, address: text.split("/")[0]! };
        const subnet = onNetwork(network, to.address);
        const from = ours.find(({ address }) => subnet !== undefined && onNetwork(network, address) === subnet);
        return from ? [{ host, from, to }] : [];
      }),
    );
}

async function probed({ host, from, to }: Pair, server: ServerNetwork, port: number, signal: AbortSignal): Promise<NetworkLink> {
  const failed = await server.probe(from.address, to.address, port, { signal });
  const text = failed === undefined ? `reached ${host.name} at ${to.address}` : `${host.name} does not answer at ${to.address}: ${failed}`;
  return {
    fromHostId: serverEnd.id,
    fromInterface: from.interface,
    fromAddress: from.address,
    toHostId: host.id,
    toInterface: to.interface,
    toAddress: to.address,
    result: failed === undefined ? "reached" : "silent",
    reason: { code: failed === undefined ? "reached" : "silent", text },
  };
}

function serverRows(network: ClusterNetwork, ours: Ours): NetworkInterface[] {
  return ours
    .filter(({ address }) => onNetwork(network, address) !== undefined)
    .map((own) => ({
      networkId: network.id,
      network: network.name,
      hostId: serverEnd.id,
      host: serverEnd.name,
      interface: own.interface,
      addresses: [own.address],
      mtu: 0,
      linkUp: true,
      state: "up",
      reason: { code: "up", text: "an address of the server" },
    }));
}

/** Then its shell is no network at all. */
function onSameMachine(networks: readonly ClusterNetwork[], host: NetworkHost, ours: Ours): boolean {
  const own = new Set(ours.map(({ address }) => address));
  return networks.some(({ interfaces }) =>
    interfaces.some((row) => row.hostId === host.id && row.addresses.some((text) => own.has(text.split("/")[0]!))),
  );
}
