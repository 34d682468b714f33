import { generateKeyPair } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { hostAddress } from "./addresses.ts";
import { fullName, type HostIdentity, type LabFacts } from "./host-files.ts";
import { run } from "./process.ts";

/** A certificate and its key as PEM. */
interface Pair {
  readonly cert: string;
  readonly key: string;
}

/**
 * Gives every host and the lab's client TLS certificates of a certificate authority made for this lab:
 * hosts where libvirt and QEMU look by default (`/etc/pki`), the client in one folder that libvirt takes
 * as `pkipath`.
 */
export async function writeCertificates(
  lab: LabFacts,
  folders: { readonly work: string; readonly client: string; readonly hostEtc: (host: string) => string },
  signal: AbortSignal,
): Promise<void> {
  const key = await makeKey();
  const issue = (name: string, template: readonly string[]): Promise<Pair> => certify({ ...folders, key, name, template }, signal);
  const ca = await issue("ca", ["cn = godwit lab", "ca", "cert_signing_key", "expiration_days = 3650"]);
  await writeFile(join(folders.work, "ca.pem"), ca.cert);
  const ofClient = async (): Promise<void> => {
    const pair = await issue("client", ["cn = godwit", ...leaf, "tls_www_client"]);
    await writePem(folders.client, { "cacert.pem": ca.cert, "clientcert.pem": pair.cert, "clientkey.pem": pair.key });
  };
  const ofHost = async (host: HostIdentity): Promise<void> => {
    const pair = await issue(host.name, [...hostTemplate(lab, host), ...leaf]);
    await writePem(join(folders.hostEtc(host.name), "pki"), {
      "CA/cacert.pem": ca.cert,
      "libvirt/servercert.pem": pair.cert,
      "libvirt/private/serverkey.pem": pair.key,
      "libvirt/clientcert.pem": pair.cert,
      "libvirt/private/clientkey.pem": pair.key,
      "qemu/ca-cert.pem": ca.cert,
      "qemu/server-cert.pem": pair.cert,
      "qemu/server-key.pem": pair.key,
      "qemu/client-cert.pem": pair.cert,
      "qemu/client-key.pem": pair.key,
    });
  };
  await Promise.all([ofClient(), ...lab.hosts.map(ofHost)]);
}

const leaf = ["signing_key", "encryption_key", "expiration_days = 3650"];

/** A host is a server, and a client of other hosts (peer-to-peer migration), by all its names and addresses. */
function hostTemplate(lab: LabFacts, host: HostIdentity): string[] {
  const addresses = lab.networks.map((network) => hostAddress(network, host.index));
  return [
    `cn = ${fullName(lab, host)}`,
    `dns_name = ${fullName(lab, host)}`,
    `dns_name = ${host.name}`,
    ...addresses.flatMap(({ ipv4, ipv6 }) => [ipv4, ...(ipv6 === undefined ? [] : [ipv6])]).map((address) => `ip_address = ${address}`),
    "tls_www_server",
    "tls_www_client",
  ];
}

/**
 * One key for all: making an RSA key takes a tenth of a second, and a lab's hosts have no secrets from
 * each other. RSA, because libvirt wants certificates that permit key encipherment.
 */
async function makeKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: 2048 });
  return String(privateKey.export({ type: "pkcs8", format: "pem" }));
}

interface Order {
  readonly work: string;
  readonly key: string;
  /** `ca` signs itself, and all others. */
  readonly name: string;
  /** Lines of a certtool template. */
  readonly template: readonly string[];
}

async function certify({ work, key, name, template }: Order, signal: AbortSignal): Promise<Pair> {
  const keyFile = join(work, "key.pem");
  const templateFile = join(work, `${name}.template`);
  await writeFile(templateFile, `${template.join("\n")}\n`);
  if (name === "ca") await writeFile(keyFile, key, { mode: 0o600 });
  const how =
    name === "ca"
      ? ["--generate-self-signed"]
      : ["--generate-certificate", "--load-ca-certificate", join(work, "ca.pem"), "--load-ca-privkey", keyFile];
  const { stdout } = await run(["certtool", "--load-privkey", keyFile, "--template", templateFile, ...how], { signal });
  return { cert: stdout.slice(stdout.indexOf("-----BEGIN CERTIFICATE-----")), key };
}

async function writePem(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text, { mode: 0o600 });
  }
}
