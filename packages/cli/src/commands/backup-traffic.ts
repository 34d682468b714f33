import type { BackupRoute, BackupTrafficEdit, BackupTrafficSettings } from "@godwit/api";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Context, print } from "../context.ts";
import { type Column, renderFields, renderTable } from "../output/table.ts";
import { type AddCommands, nameList, type WithContext } from "./command.ts";
import { addEntryCommands, verdictColumns } from "./migration.ts";

const routeColumns: readonly Column<BackupRoute>[] = [
  { title: "WAY", value: (row) => row.kind },
  { title: "NETWORK", value: (row) => row.network },
  { title: "FROM", value: (row) => row.address },
  { title: "TO", value: (row) => row.serverAddress },
  { title: "WHY", value: (row) => row.reason.text },
];

/** Settings with the names of networks instead of their ids. */
async function printSettings(context: Context, settings: BackupTrafficSettings): Promise<void> {
  const networks = await Array.fromAsync(context.client.all("networkList", { signal: context.signal }));
  const names = (ids: readonly string[]): string => ids.map((id) => networks.find((network) => network.id === id)?.name ?? id).join(", ");
  print(context, settings, () =>
    renderFields([
      ["order", names(settings.order) || "by metric"],
      ["excluded", names(settings.exclude) || "none"],
      ["unencrypted allowed on", names(settings.unencrypted) || "none"],
      ["TLS credentials", settings.tlsDirectory ?? "none: no TLS"],
      ["ports", `${settings.firstPort}-${settings.lastPort}`],
      ["otherwise", settings.otherwise === "ssh" ? "through the SSH session" : "refuse"],
    ]),
  );
}

interface TrafficFlags {
  readonly order?: string[];
  readonly exclude?: string[];
  readonly unencrypted?: string[];
  readonly tlsCredentials?: string;
  readonly ports?: readonly [number, number];
  readonly otherwise?: "ssh" | "refuse";
}

function portRange(text: string): [number, number] {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  if (!match) throw new InvalidArgumentError("FIRST-LAST is needed, such as 10809-10872.");
  return [Number(match[1]), Number(match[2])];
}

function edited({ order, exclude, unencrypted, tlsCredentials, ports, otherwise }: TrafficFlags): BackupTrafficEdit {
  return {
    ...(order && { order }),
    ...(exclude && { exclude }),
    ...(unencrypted && { unencrypted }),
    ...(tlsCredentials !== undefined && { tlsDirectory: tlsCredentials === "" ? null : tlsCredentials }),
    ...(ports && { firstPort: ports[0], lastPort: ports[1] }),
    ...(otherwise !== undefined && { otherwise }),
  };
}

function addTraffic(program: Command, withContext: WithContext): void {
  const traffic = program.command("backup-traffic").description("which networks carry what captures read and recoveries write");
  traffic
    .command("get")
    .description("show order, exclusions, encryption and ports")
    .action(() =>
      withContext(async (context) => printSettings(context, await context.client.call("backupTrafficGet", { signal: context.signal }))),
    );
  traffic
    .command("set")
    .description("set order, exclusions, encryption or ports; what is not given stays")
    .option("--order <networks>", "names or ids, first is tried first; '' for by metric", nameList)
    .option("--exclude <networks>", "names or ids that it never uses; '' for none", nameList)
    .option("--unencrypted <networks>", "where disks may go without TLS: anyone on such a network can read them; '' for none", nameList)
    .option("--tls-credentials <dir>", "a directory of the server: ca-cert.pem, client-cert.pem, client-key.pem; '' for no TLS")
    .option("--ports <first-last>", "TCP ports of the hosts that exports may listen on", portRange)
    .addOption(
      new Option("--otherwise <what>", "when no network can carry it: through the SSH session, or not at all").choices(["ssh", "refuse"]),
    )
    .action((flags: TrafficFlags) =>
      withContext(async (context) =>
        printSettings(context, await context.client.call("backupTrafficSet", { body: edited(flags), signal: context.signal })),
      ),
    );
  traffic
    .command("explain <host>")
    .description("every network with its rank for a host's backup traffic, and the ways in the order they are tried")
    .action((host: string) =>
      withContext(async (context) => {
        const explained = await context.client.call("backupTrafficExplain", { params: { host }, signal: context.signal });
        print(
          context,
          explained,
          () => `${renderTable(verdictColumns, explained.networks)}\n${renderTable(routeColumns, explained.routes)}`,
        );
      }),
    );
}

export const addBackupTrafficCommands: AddCommands = (program, withContext) => {
  addTraffic(program, withContext);
  addEntryCommands(program, withContext, {
    command: "backup-network",
    description: "per host: subnets that its backup traffic may use",
    peers: { list: "", add: "", set: "", remove: "" },
    none: "no backup network is listed: any network will do",
    operations: {
      list: "backupNetworkList",
      add: "backupNetworkAdd",
      set: "backupNetworkSet",
      remove: "backupNetworkRemove",
    },
  });
};
