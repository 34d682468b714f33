import type { LiveMigrationSettings, MigrationNetwork, NetworkVerdict } from "@godwit/api";
import type { Command } from "commander";
import { type Context, print, printList } from "../context.ts";
import { type Column, renderFields, renderTable } from "../output/table.ts";
import { type AddCommands, integer, nameList, type WithContext } from "./command.ts";

export const verdictColumns: readonly Column<NetworkVerdict>[] = [
  { title: "RANK", value: (row) => row.rank, align: "right" },
  { title: "NETWORK", value: (row) => row.network },
  { title: "VERDICT", value: (row) => row.verdict },
  { title: "FROM", value: (row) => row.sourceAddress },
  { title: "TO", value: (row) => row.destinationAddress },
  { title: "WHY", value: (row) => row.reason.text },
];

const entryColumns: readonly Column<MigrationNetwork>[] = [
  { title: "HOST", value: (row) => row.host },
  { title: "SUBNET", value: (row) => row.subnet },
  { title: "PRIORITY", value: (row) => row.priority, align: "right" },
  { title: "MANAGED BY", value: (row) => row.managedBy },
];

/** Settings with the names of networks instead of their ids. */
async function printSettings(context: Context, settings: LiveMigrationSettings): Promise<void> {
  const networks = await Array.fromAsync(context.client.all("networkList", { signal: context.signal }));
  const nameOf = (id: string): string => networks.find((network) => network.id === id)?.name ?? id;
  print(context, settings, () =>
    renderFields([
      ["order", settings.order.map(nameOf).join(", ") || "by metric"],
      ["excluded", settings.exclude.map(nameOf).join(", ") || "none"],
      ["maximum parallel migrations", settings.maximumParallelMigrations ?? "as each host says"],
    ]),
  );
}

interface LiveFlags {
  readonly order?: string[];
  readonly exclude?: string[];
  readonly maxParallel?: number | "host";
}

function addLiveMigration(program: Command, withContext: WithContext): void {
  const live = program.command("live-migration").description("cluster-wide order and exclusions of networks");
  live
    .command("get")
    .description("show the order, the exclusions and the limit")
    .action(() =>
      withContext(async (context) => printSettings(context, await context.client.call("liveMigrationGet", { signal: context.signal }))),
    );
  live
    .command("set")
    .description("set the order, the exclusions or the limit; what is not given stays")
    .option("--order <networks>", "names or ids, first is tried first; '' for by metric", nameList)
    .option("--exclude <networks>", "names or ids that live migration never uses; '' for none", nameList)
    .option("--max-parallel <n>", "live migrations that one host takes part in; 'host' leaves it to the hosts", (text) =>
      text === "host" ? "host" : integer(text),
    )
    .action((flags: LiveFlags) =>
      withContext(async (context) => {
        const body = {
          ...(flags.order && { order: flags.order }),
          ...(flags.exclude && { exclude: flags.exclude }),
          ...(flags.maxParallel !== undefined && { maximumParallelMigrations: flags.maxParallel === "host" ? null : flags.maxParallel }),
        };
        await printSettings(context, await context.client.call("liveMigrationSet", { body, signal: context.signal }));
      }),
    );
}

interface EntryFlags {
  readonly host: string;
  readonly subnet: string;
  readonly priority: number;
  readonly newSubnet?: string;
  readonly newPriority?: number;
}

/** Commands about hosts' lists of subnets: for migrations, and for backup traffic. */
interface EntryWords {
  readonly command: string;
  readonly description: string;
  /** What Windows calls it. */
  readonly peers: { readonly [Name in "list" | "add" | "set" | "remove"]: string };
  readonly none: string;
  readonly operations: {
    readonly list: "migrationNetworkList" | "backupNetworkList";
    readonly add: "migrationNetworkAdd" | "backupNetworkAdd";
    readonly set: "migrationNetworkSet" | "backupNetworkSet";
    readonly remove: "migrationNetworkRemove" | "backupNetworkRemove";
  };
}

const migrationNetworks: EntryWords = {
  command: "migration-network",
  description: "per host: subnets that incoming migrations may use",
  peers: {
    list: " (Get-VMMigrationNetwork)",
    add: " (Add-VMMigrationNetwork)",
    set: " (Set-VMMigrationNetwork)",
    remove: " (Remove-VMMigrationNetwork)",
  },
  none: "no migration network is listed: see 'use any network' of 'godwit host show'",
  operations: {
    list: "migrationNetworkList",
    add: "migrationNetworkAdd",
    set: "migrationNetworkSet",
    remove: "migrationNetworkRemove",
  },
};

export function addEntryCommands(program: Command, withContext: WithContext, words: EntryWords): void {
  const { operations, peers } = words;
  const entry = program.command(words.command).description(words.description);
  entry
    .command("list")
    .alias("get")
    .description(`list entries${peers.list}`)
    .option("--host <host>", "only this host's")
    .option("--subnet <pattern>", "only these, such as '192.168.*'")
    .option("--priority <n>", "only with this priority", integer)
    .action((flags: Partial<Pick<EntryFlags, "host" | "subnet" | "priority">>) =>
      withContext(async (context) => {
        const entries = await Array.fromAsync(context.client.all(operations.list, { query: flags, signal: context.signal }));
        printList(context, entries, entryColumns, words.none);
      }),
    );
  entry
    .command("add")
    .description(`add a subnet or address to a host${peers.add}`)
    .requiredOption("--host <host>", "the host")
    .requiredOption("--subnet <cidr>", "such as 10.0.2.0/24, fd00:2::/64, or one address")
    .option("--priority <n>", "lower comes first, ties are allowed", integer, 0)
    .action(({ host, subnet, priority }: EntryFlags) =>
      withContext(async (context) => {
        const added = await context.client.call(operations.add, {
          params: { host },
          body: { subnet, priority },
          signal: context.signal,
        });
        print(context, added, () => renderTable(entryColumns, [added]));
      }),
    );
  entry
    .command("set")
    .description(`change entries of a host${peers.set}`)
    .requiredOption("--host <host>", "the host")
    .requiredOption("--subnet <pattern>", "which: a subnet, or a pattern with *")
    .option("--new-subnet <cidr>", "the subnet it becomes")
    .option("--new-priority <n>", "the priority it gets", integer)
    .action(({ host, subnet, newSubnet, newPriority }: EntryFlags) =>
      withContext(async (context) => {
        const body = { subnet, ...(newSubnet !== undefined && { newSubnet }), ...(newPriority !== undefined && { newPriority }) };
        const changed = await context.client.call(operations.set, { params: { host }, body, signal: context.signal });
        print(context, changed.items, (items) => renderTable(entryColumns, items));
      }),
    );
  entry
    .command("remove")
    .description(`remove an entry from a host${peers.remove}`)
    .requiredOption("--host <host>", "the host")
    .requiredOption("--subnet <pattern>", "which: a subnet, or a pattern with *")
    .action(({ host, subnet }: EntryFlags) =>
      withContext((context) => context.client.call(operations.remove, { params: { host }, query: { subnet }, signal: context.signal })),
    );
}

export const addMigrationCommands: AddCommands = (program, withContext) => {
  addLiveMigration(program, withContext);
  addEntryCommands(program, withContext, migrationNetworks);
  program
    .command("migration")
    .description("how a migration would go")
    .command("explain <vm>")
    .description("every network with its rank, and why it is chosen, a fallback or out")
    .requiredOption("--to <host>", "destination host")
    .action((vm: string, { to }: { to: string }) =>
      withContext(async (context) => {
        const explained = await context.client.call("migrationExplain", { params: { vm }, query: { to }, signal: context.signal });
        print(
          context,
          explained,
          () => `${explained.vm}: ${explained.source} → ${explained.destination}\n\n${renderTable(verdictColumns, explained.networks)}`,
        );
      }),
    );
};
