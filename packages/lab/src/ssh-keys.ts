import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostAddress } from "./addresses.ts";
import { fullName, type LabFacts } from "./host-files.ts";
import { run } from "./process.ts";

/** How whoever drives the lab reaches its hosts: as root, by key, knowing every host's key. */
export interface SshAccess {
  readonly keyFile: string;
  readonly knownHostsFile: string;
}

export function sshAccess(client: string): SshAccess {
  return { keyFile: join(client, "id_ed25519"), knownHostsFile: join(client, "known_hosts") };
}

/** Makes the client's key, a key for every host, and the file by which the client knows them. */
export async function writeSshKeys(
  lab: LabFacts,
  folders: { readonly client: string; readonly hostEtc: (host: string) => string },
  signal: AbortSignal,
): Promise<void> {
  const access = sshAccess(folders.client);
  const clientKey = makeKey(access.keyFile, `godwit@${lab.id}`, signal);
  const known = lab.hosts.map(async (host) => {
    const folder = join(folders.hostEtc(host.name), "godwit-lab");
    await mkdir(folder, { recursive: true });
    const key = await makeKey(join(folder, "ssh_host_ed25519_key"), fullName(lab, host), signal);
    await writeFile(join(folder, "authorized_keys"), `${await clientKey}\n`, { mode: 0o600 });
    const addresses = lab.networks
      .filter((network) => network.name === "management")
      .flatMap((network) => Object.values(hostAddress(network, host.index)))
      .filter((address) => address !== undefined);
    return `${[...addresses, fullName(lab, host), host.name].join(",")} ${key.split(" ").slice(0, 2).join(" ")}\n`;
  });
  await writeFile(access.knownHostsFile, (await Promise.all(known)).join(""));
}

async function makeKey(path: string, comment: string, signal: AbortSignal): Promise<string> {
  await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], { signal });
  return (await readFile(`${path}.pub`, "utf8")).trim();
}
