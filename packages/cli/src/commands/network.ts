import type { Network, NetworkInterface } from "@godwit/api";
import { type Context, print, printList } from "../context.ts";
import { type Column, renderFields, renderTable } from "../output/table.ts";
import type { Command } from "commander";
import { type AddCommands, integer, type WithContext } from "./command.ts";

const columns: readonly Column<Network>[] = [
  { title: "NAME", value: (network) => network.name },
  { title: "STATE", value: (network) => network.state },
  { title: "ROLE", value: (network) => network.role },
  { title: "METRIC", value: (network) => `${network.metric}${network.autoMetric ? " (auto)" : ""}`, align: "right" },
  { title: "SUBNETS", value: (network) => network.subnets.join(", ") },
  { title: "HOSTS", value: (network) => new Set(network.interfaces.map((entry) => entry.hostId)).size, align: "right" },
  { title: "WHY", value: (network) => (network.state === "up" ? "" : network.stateReason.text) },
];

const interfaceColumns: readonly Column<NetworkInterface>[] = [
  { title: "NETWORK", value: (entry) => entry.network },
  { title: "HOST", value: (entry) => entry.host },
  { title: "INTERFACE", value: (entry) => entry.interface },
  { title: "STATE", value: (entry) => entry.state },
  { title: "ADDRESSES", value: (entry) => entry.addresses.join(", ") },
  { title: "MTU", value: (entry) => entry.mtu, align: "right" },
  { title: "MBIT/S", value: (entry) => entry.speedMbps, align: "right" },
  { title: "WHY", value: (entry) => (entry.state === "up" ? "" : entry.reason.text) },
];

function networkTable(network: Network): string {
  const fields = renderFields([
    ["name", network.name],
    ["id", network.id],
    ["description", network.description || undefined],
    ["subnets", network.subnets.join(", ")],
    ["state", `${network.state} (${network.stateReason.text})`],
    ["role", network.role],
    ["metric", `${network.metric} (${network.autoMetric ? `automatic: ${network.metricReason.text}` : "set by hand"})`],
  ]);
  return `${fields}\n${renderTable(interfaceColumns.slice(1), network.interfaces)}`;
}

interface SetFlags {
  readonly name?: string;
  readonly description?: string;
  readonly role?: "none" | "cluster" | "cluster-and-client";
  readonly metric?: number | "auto";
}

const noNetworks = "no network is known yet: add hosts with 'godwit host add', their networks are found by themselves";

function addEdit(network: Command, withContext: WithContext): void {
  network
    .command("set <network>")
    .description("rename a network, set its role or metric")
    .option("--name <name>", "its new name")
    .option("--description <text>", "a description")
    .option("--role <role>", "none, cluster or cluster-and-client")
    .option("--metric <n>", "lower is preferred; 'auto' gives it back to Godwit", (text) => (text === "auto" ? "auto" : integer(text)))
    .action((name: string, { metric, ...rest }: SetFlags) =>
      withContext(async (context) => {
        const body = { ...rest, ...(metric === "auto" && { autoMetric: true }), ...(typeof metric === "number" && { metric }) };
        print(context, await context.client.call("networkEdit", { params: { network: name }, body, signal: context.signal }), networkTable);
      }),
    );
  network
    .command("rename <network> <name>")
    .description("rename a network")
    .action((from: string, name: string) =>
      withContext(async (context) =>
        print(
          context,
          await context.client.call("networkEdit", { params: { network: from }, body: { name }, signal: context.signal }),
          networkTable,
        ),
      ),
    );
}

export const addNetworkCommands: AddCommands = (program, withContext) => {
  const network = program.command("network").description("networks that the hosts share");
  const printNetworks = (context: Context, networks: readonly Network[]): void => printList(context, networks, columns, noNetworks);
  network
    .command("list")
    .description("list cluster networks (Get-ClusterNetwork)")
    .action(() =>
      withContext(async (context) =>
        printNetworks(context, await Array.fromAsync(context.client.all("networkList", { signal: context.signal }))),
      ),
    );
  network
    .command("show <network>")
    .description("show a network with its interfaces")
    .action((name: string) =>
      withContext(async (context) =>
        print(context, await context.client.call("networkGet", { params: { network: name }, signal: context.signal }), networkTable),
      ),
    );
  addEdit(network, withContext);
  network
    .command("interfaces")
    .description("list the interfaces of cluster networks (Get-ClusterNetworkInterface)")
    .option("--host <host>", "only of this host")
    .option("--network <network>", "only of this network")
    .action((flags: { host?: string; network?: string }) =>
      withContext(async (context) => {
        const interfaces = await Array.fromAsync(context.client.all("networkInterfaceList", { query: flags, signal: context.signal }));
        printList(context, interfaces, interfaceColumns, noNetworks);
      }),
    );
  network
    .command("probe")
    .description("gather the hosts' networks and probe them now")
    .action(() =>
      withContext(async (context) => printNetworks(context, (await context.client.call("networkProbe", { signal: context.signal })).items)),
    );
};
