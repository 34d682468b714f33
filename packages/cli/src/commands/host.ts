import type { Host } from "@godwit/api";
import type { Column } from "../output/table.ts";
import { renderFields } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import { print, printList } from "../context.ts";
import type { Command } from "commander";
import { type AddCommands, integer, type WithContext } from "./command.ts";

const columns: readonly Column<Host>[] = [
  { title: "NAME", value: (host) => host.name },
  { title: "STATE", value: (host) => host.state },
  { title: "MAINTENANCE", value: (host) => host.maintenance?.state ?? "" },
  { title: "VMS", value: (host) => `${host.vms.running}/${host.vms.total}`, align: "right" },
  { title: "CPUS", value: (host) => host.facts?.cpu.count, align: "right" },
  { title: "MEMORY", value: (host) => host.facts && formatBytes(host.facts.memoryBytes), align: "right" },
  { title: "FREE", value: (host) => host.facts?.freeMemoryBytes && formatBytes(host.facts.freeMemoryBytes), align: "right" },
  { title: "LIBVIRT", value: (host) => host.facts?.versions.libvirt },
  { title: "HYPERVISOR", value: (host) => host.facts?.versions.hypervisor },
  { title: "ACCELERATION", value: (host) => host.facts && `${host.facts.acceleration.kind} (${host.facts.acceleration.evidence})` },
  { title: "REASON", value: (host) => (host.state === "up" ? "" : host.reason.text) },
];

function hostTable(host: Host): string {
  const { facts } = host;
  return renderFields([
    ["name", host.name],
    ["id", host.id],
    ["uri", host.uri],
    ["state", `${host.state} since ${host.stateSince} (${host.reason.text})`],
    ["maintenance", host.maintenance && `${host.maintenance.state} since ${host.maintenance.since}: ${host.maintenance.reason.text}`],
    [
      "moved away",
      host.maintenance && host.maintenance.moved.length > 0
        ? host.maintenance.moved.map(({ vm, destination }) => `${vm} to ${destination}`).join(", ")
        : undefined,
    ],
    ["vms", `${host.vms.running} running of ${host.vms.total}`],
    ["hostname", facts?.hostname],
    [
      "cpu",
      facts &&
        `${facts.cpu.model ?? facts.cpu.arch}, ${facts.cpu.count} CPUs (${facts.cpu.sockets} × ${facts.cpu.cores} × ${facts.cpu.threads})`,
    ],
    [
      "memory",
      facts &&
        `${formatBytes(facts.memoryBytes)}${facts.freeMemoryBytes === undefined ? "" : `, ${formatBytes(facts.freeMemoryBytes)} free`}`,
    ],
    ["libvirt", facts?.versions.libvirt],
    ["hypervisor", facts?.versions.hypervisor],
    ["system", facts && [facts.versions.os, facts.versions.kernel].filter(Boolean).join(", ")],
    ["acceleration", facts && `${facts.acceleration.kind}, ${facts.acceleration.evidence}: ${facts.acceleration.text}`],
  ]);
}

interface AddFlags {
  readonly sshHost?: string;
  readonly sshPort: number;
  readonly sshUser: string;
  readonly sshKeyFile?: string;
  readonly sshKnownHosts?: string;
}

interface SetFlags {
  readonly useAnyNetwork?: boolean;
  readonly maxLiveMigrations?: number;
  readonly maxStorageMigrations?: number;
}

function addAdd(host: Command, withContext: WithContext): void {
  host
    .command("add <name> <uri>")
    .description("add a host by its libvirt URI, such as qemu+ssh://root@host/system")
    .option("--ssh-host <address>", "reach the host's shell here (only when the URI is not an SSH one)")
    .option("--ssh-port <port>", "SSH port", integer, 22)
    .option("--ssh-user <user>", "SSH user", "root")
    .option("--ssh-key-file <path>", "SSH private key, on the server's machine")
    .option("--ssh-known-hosts <path>", "known_hosts file, on the server's machine")
    .action((name: string, uri: string, flags: AddFlags) =>
      withContext(async (context) => {
        const ssh =
          flags.sshHost === undefined
            ? undefined
            : {
                host: flags.sshHost,
                port: flags.sshPort,
                user: flags.sshUser,
                keyFile: flags.sshKeyFile,
                knownHostsFile: flags.sshKnownHosts,
              };
        const added = await context.client.call("hostAdd", { body: { name, uri, ...(ssh && { ssh }) }, signal: context.signal });
        print(context, added, hostTable);
      }),
    );
}

function addRead(host: Command, withContext: WithContext): void {
  host
    .command("list")
    .description("list hosts")
    .action(() =>
      withContext(async (context) => {
        const hosts = await Array.fromAsync(context.client.all("hostList", { signal: context.signal }));
        printList(context, hosts, columns, "no host yet: add one with 'godwit host add NAME URI'");
      }),
    );
  host
    .command("show <host>")
    .description("show a host and its migration settings")
    .action((name: string) =>
      withContext(async (context) => {
        const params = { host: name };
        const shown = await context.client.call("hostGet", { params, signal: context.signal });
        const migration = await context.client.call("hostMigrationGet", { params, signal: context.signal });
        print(context, { ...shown, migration }, () =>
          [
            hostTable(shown),
            renderFields([
              [
                "migration networks",
                migration.networks.map((entry) => `${entry.subnet} (priority ${entry.priority})`).join(", ") || "none listed",
              ],
              ["use any network", migration.useAnyNetwork],
              ["maximum live migrations", migration.maximumLiveMigrations],
              ["maximum storage migrations", migration.maximumStorageMigrations],
            ]),
          ].join(""),
        );
      }),
    );
}

function addSet(host: Command, withContext: WithContext): void {
  host
    .command("set <host>")
    .description("set a host's migration settings (as Set-VMHost does)")
    .option("--use-any-network", "take incoming migrations on any network")
    .option("--no-use-any-network", "take incoming migrations only on the listed migration networks")
    .option("--max-live-migrations <n>", "simultaneous live migrations", integer)
    .option("--max-storage-migrations <n>", "simultaneous storage migrations", integer)
    .action((name: string, flags: SetFlags) =>
      withContext(async (context) => {
        const body = {
          ...(flags.useAnyNetwork !== undefined && { useAnyNetwork: flags.useAnyNetwork }),
          ...(flags.maxLiveMigrations !== undefined && { maximumLiveMigrations: flags.maxLiveMigrations }),
          ...(flags.maxStorageMigrations !== undefined && { maximumStorageMigrations: flags.maxStorageMigrations }),
        };
        const settings = await context.client.call("hostMigrationSet", { params: { host: name }, body, signal: context.signal });
        print(context, settings, () =>
          renderFields([
            ["host", settings.host],
            ["use any network", settings.useAnyNetwork],
            ["maximum live migrations", settings.maximumLiveMigrations],
            ["maximum storage migrations", settings.maximumStorageMigrations],
          ]),
        );
      }),
    );
}

export const addHostCommands: AddCommands = (program, withContext) => {
  const host = program.command("host").description("hosts that run VMs");
  addAdd(host, withContext);
  addRead(host, withContext);
  addSet(host, withContext);
  host
    .command("remove <host>")
    .description("forget a host; nothing on it changes")
    .action((name: string) =>
      withContext((context) => context.client.call("hostRemove", { params: { host: name }, signal: context.signal })),
    );
};
