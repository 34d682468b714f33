import { hostAddress, type LabNetwork, type NetworkName, portName, uplinkAddress, uplinkInterface } from "./addresses.ts";

/**
 * The lab's network gear as batches for `ip -batch -`, to be run in the lab's mount namespace, where
 * `/run/netns` has one network namespace for each host and one, `switch`, for the bridges. Only the
 * management bridge has a port in the machine's own namespace.
 */
export interface Batch {
  /** The network namespace to run in; undefined: the machine's own, from where links are made. */
  readonly namespace: string | undefined;
  readonly lines: readonly string[];
}

/** The bridges, and the machine's uplink to the management one, and to others where asked for. */
export function switchBatches(index: number, networks: readonly LabNetwork[], further: readonly NetworkName[] = []): Batch[] {
  const uplink = uplinkInterface(index);
  const management = networks.filter((network) => network.name === "management");
  return [
    {
      namespace: "switch",
      lines: networks.flatMap((network) => [
        `link add ${network.bridge} mtu ${network.mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
        `link set ${network.bridge} up`,
      ]),
    },
    {
      namespace: undefined,
      lines: management.flatMap((network) => [
        `link add ${uplink} mtu ${network.mtu} type veth peer name uplink mtu ${network.mtu} netns switch`,
        ...addressLines(uplink, network, uplinkAddress(network)),
        `link set ${uplink} up`,
        ...elsewhere(
          networks.filter(({ name }) => !further.includes(name)),
          uplink,
        ),
      ]),
    },
    {
      namespace: "switch",
      lines: management.flatMap((network) => [`link set uplink master ${network.bridge}`, "link set uplink up"]),
    },
    ...networks.filter(({ name }) => further.includes(name)).flatMap((network) => furtherUplink(index, network)),
  ];
}

/** As a server has that is on a network for backups, too. Gone with the switch, whose end of it is a port. */
function furtherUplink(index: number, network: LabNetwork): Batch[] {
  const uplink = `${uplinkInterface(index)}-${network.bridge}`;
  const port = `uplink-${network.bridge}`;
  return [
    {
      namespace: undefined,
      lines: [
        `link add ${uplink} mtu ${network.mtu} type veth peer name ${port} mtu ${network.mtu} netns switch`,
        ...addressLines(uplink, network, uplinkAddress(network)),
        `link set ${uplink} up`,
      ],
    },
    { namespace: "switch", lines: [`link set ${port} master ${network.bridge}`, `link set ${port} up`] },
  ];
}

/**
 * The machine must not reach the other networks, and must not ask its default gateway for them either:
 * a route into the management network, where nobody has those addresses (hosts answer for an address
 * only on the interface that has it: `arp_ignore`), and which is gone with the uplink.
 */
function elsewhere(networks: readonly LabNetwork[], uplink: string): string[] {
  return networks
    .filter((network) => network.name !== "management")
    .flatMap((network) => [network.ipv4, network.ipv6])
    .filter((prefix) => prefix !== undefined)
    .map((prefix) => `route add ${prefix} dev ${uplink}`);
}

/** A host's interfaces, their ports, and the bridge that its guests are on (`br-guests`, the host's own). */
export function hostBatches(host: { readonly name: string; readonly index: number }, networks: readonly LabNetwork[]): Batch[] {
  return [
    {
      namespace: "switch",
      lines: networks.flatMap((network) => {
        const port = portName(host.name, network.name);
        return [
          `link add ${port} mtu ${network.mtu} type veth peer name ${network.interface} mtu ${network.mtu} netns ${host.name}`,
          `link set ${port} master ${network.bridge}`,
          `link set ${port} up`,
        ];
      }),
    },
    {
      namespace: host.name,
      lines: [
        "link set lo up",
        ...networks.flatMap((network) => [
          ...addressLines(network.interface, network, hostAddress(network, host.index)),
          `link set ${network.interface} up`,
        ]),
        `link add ${guestBridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
        `link set ${guestBridge} addrgenmode none`,
        `link set ${guestBridge} up`,
      ],
    },
  ];
}

/** On every host, and on none of the lab's networks. */
export const guestBridge = "br-guests";

function addressLines(device: string, network: LabNetwork, address: { ipv4: string; ipv6: string | undefined }): string[] {
  return [
    `address add ${address.ipv4}/24 dev ${device}`,
    // nodad: usable at once
    ...(address.ipv6 === undefined || network.ipv6 === undefined ? [] : [`address add ${address.ipv6}/64 dev ${device} nodad`]),
  ];
}
