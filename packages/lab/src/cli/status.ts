import type { Lab } from "../lab.ts";

/** What there is to know about a lab, as `-o json` prints it. */
export interface LabStatus {
  readonly id: string;
  readonly dir: string;
  readonly ssh: { readonly keyFile: string; readonly knownHostsFile: string };
  readonly networks: Readonly<Record<string, { readonly ipv4: string; readonly ipv6?: string | undefined }>>;
  readonly hosts: readonly {
    readonly name: string;
    readonly up: boolean;
    readonly uuid: string;
    readonly uri: string;
    readonly addresses: Readonly<Record<string, string>>;
  }[];
  readonly guests: readonly { readonly name: string; readonly hosts: readonly string[]; readonly acknowledged: number }[];
}

export async function statusOf(lab: Lab): Promise<LabStatus> {
  const guests = (await lab.guests()).map(async (guest) => ({
    name: guest.name,
    hosts: (await guest.whereabouts()).map((host) => host.name),
    acknowledged: (await guest.acknowledgements()).acknowledged.at(-1)?.number ?? 0,
  }));
  return {
    id: lab.id,
    dir: lab.dir,
    ssh: lab.ssh,
    networks: Object.fromEntries(lab.networks.map(({ name, ipv4, ipv6 }) => [name, { ipv4, ipv6 }])),
    hosts: lab.hosts.map((host) => ({ name: host.name, up: host.isUp, uuid: host.uuid, uri: lab.uri(host), addresses: host.addresses })),
    guests: await Promise.all(guests),
  };
}

/** The same for people. */
export function statusText(status: LabStatus): string {
  const hosts = status.hosts.map((host) => [
    host.name,
    host.up ? "up" : "down",
    ...["management", "migration", "storage", "spare"].map((name) => host.addresses[name] ?? ""),
  ]);
  const guests = status.guests.map((guest) => [guest.name, guest.hosts.join(" and ") || "off", String(guest.acknowledged)]);
  return [
    `lab ${status.id} in ${status.dir}`,
    "",
    ...table([["host", "", "management", "migration", "storage", "spare"], ...hosts]),
    ...(guests.length === 0 ? [] : ["", ...table([["guest", "runs on", "records acknowledged"], ...guests])]),
    "",
    `ssh -i ${status.ssh.keyFile} -o UserKnownHostsFile=${status.ssh.knownHostsFile} root@${status.hosts[0]?.addresses["management"] ?? ""}`,
    status.hosts[0]?.uri ?? "",
    "",
  ].join("\n");
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
