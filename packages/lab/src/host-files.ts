import type { LabNetwork } from "./addresses.ts";
import { hostAddress } from "./addresses.ts";

/** What tells one host of a lab from another. */
export interface HostIdentity {
  readonly name: string;
  /** Its place in the lab, from 0: addresses are made of it. */
  readonly index: number;
  readonly uuid: string;
}

/** What the files of a lab's hosts are made of. */
export interface LabFacts {
  readonly id: string;
  readonly networks: readonly LabNetwork[];
  readonly hosts: readonly HostIdentity[];
}

/** A file to be: its path below a host's `/etc`, and its text and mode or what it is a symbolic link to. */
export type EtcFile =
  | { readonly path: string; readonly text: string; readonly mode?: number }
  | { readonly path: string; readonly link: string };

/** The storage pools of every host: `shared` is one folder, `local` a folder of each host's own. */
export const pools = { shared: "/srv/shared", local: "/srv/local" } as const;

/** Everything below a host's `/etc` that differs from the machine's, keys and certificates left out. */
export function etcFiles(lab: LabFacts, host: HostIdentity, sshd: SshdProgram): EtcFile[] {
  return [
    { path: "hostname", text: `${fullName(lab, host)}\n` },
    { path: "hosts", text: hostsFile(lab) },
    { path: "machine-id", text: `${host.uuid.replaceAll("-", "")}\n` },
    ...accountFiles,
    { path: "libvirt/libvirtd.conf", text: libvirtdConf(lab, host) },
    { path: "libvirt/qemu.conf", text: qemuConf },
    { path: "libvirt/libvirt.conf", text: "" },
    { path: "libvirt/virtlogd.conf", text: "" },
    ...swtpmFiles,
    ...(Object.keys(pools) as (keyof typeof pools)[]).flatMap((pool) => poolFiles(host, pool)),
    { path: "godwit-lab/sshd_config", text: sshdConfig },
    { path: "godwit-lab/services", text: servicesFile(sshd) },
  ];
}

/** `alpha.lab0`: a lab is the domain of its hosts. */
export function fullName(lab: Pick<LabFacts, "id">, host: Pick<HostIdentity, "name">): string {
  return `${host.name}.${lab.id}`;
}

/** Names every host, so that libvirt never asks a resolver: an unreachable one costs 40 s a migration. */
function hostsFile(lab: LabFacts): string {
  const management = lab.networks.find((network) => network.name === "management");
  const lines = lab.hosts.map((host) => {
    const address = management ? hostAddress(management, host.index).ipv4 : "";
    return `${address} ${fullName(lab, host)} ${host.name}`;
  });
  return ["127.0.0.1 localhost", "::1 localhost ip6-localhost", ...lines, ""].join("\n");
}

// libvirt's QEMU driver wants the user libvirt-qemu to exist, sshd the user sshd; neither needs to be on
// the machine. Root's password is "*" (none) and not "!" (locked), which sshd would refuse.
const accountFiles: readonly EtcFile[] = [
  {
    path: "passwd",
    text: [
      "root:x:0:0:root:/root:/bin/bash",
      "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
      "sshd:x:74:65534::/run/sshd:/usr/sbin/nologin",
      "libvirt-qemu:x:64055:64055:Libvirt Qemu:/var/lib/libvirt:/usr/sbin/nologin",
      "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
      "",
    ].join("\n"),
  },
  {
    path: "group",
    text: ["root:x:0:", "daemon:x:1:", "tty:x:5:", "kvm:x:78:", "libvirt-qemu:x:64055:", "libvirt:x:77:", "nogroup:x:65534:", ""].join(
      "\n",
    ),
  },
  { path: "shadow", text: ["root:*:19000:0:99999:7:::", "sshd:!:19000::::::", "nobody:*:19000::::::", ""].join("\n"), mode: 0o600 },
  {
    path: "nsswitch.conf",
    text: ["passwd: files", "group: files", "shadow: files", "hosts: files", "services: files", "protocols: files", ""].join("\n"),
  },
];

function libvirtdConf(lab: LabFacts, host: HostIdentity): string {
  const management = lab.networks.find((network) => network.name === "management");
  const listen = management ? hostAddress(management, host.index).ipv4 : "127.0.0.1";
  return [
    `host_uuid = "${host.uuid}"`,
    "# TLS with client certificates only: the management network reaches into the machine.",
    "listen_tls = 1",
    "listen_tcp = 0",
    `listen_addr = "${listen}"`,
    'auth_tls = "none"',
    'unix_sock_group = "root"',
    'unix_sock_rw_perms = "0700"',
    'auth_unix_ro = "none"',
    'auth_unix_rw = "none"',
    "max_clients = 500",
    "max_anonymous_clients = 50",
    "log_level = 3",
    'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"',
    "",
  ].join("\n");
}

const qemuConf = [
  'user = "root"',
  'group = "root"',
  'security_driver = "none"',
  "remember_owner = 0",
  "# Without virtlogd and without systemd; the host's mount namespace is enough of a cage.",
  'stdio_handler = "file"',
  "namespaces = []",
  "cgroup_controllers = []",
  "# Its own user, tss, is not on every machine.",
  'swtpm_user = "root"',
  'swtpm_group = "root"',
  "",
].join("\n");

/** Emulated TPMs get certificates from an authority of their host's own. */
const swtpmFolder = "/var/lib/libvirt/swtpm-localca";
const swtpmFiles: readonly EtcFile[] = [
  {
    path: "swtpm_setup.conf",
    text: [
      "create_certs_tool = /usr/bin/swtpm_localca",
      "create_certs_tool_config = /etc/swtpm-localca.conf",
      "create_certs_tool_options = /etc/swtpm-localca.options",
      "active_pcr_banks = sha256",
      "",
    ].join("\n"),
  },
  {
    path: "swtpm-localca.conf",
    text: [
      `statedir = ${swtpmFolder}`,
      `signingkey = ${swtpmFolder}/signkey.pem`,
      `issuercert = ${swtpmFolder}/issuercert.pem`,
      `certserial = ${swtpmFolder}/certserial`,
      "",
    ].join("\n"),
  },
  { path: "swtpm-localca.options", text: "--platform-manufacturer godwit\n--platform-version 1\n--platform-model lab\n" },
];

function poolFiles(host: HostIdentity, pool: keyof typeof pools): EtcFile[] {
  // The last digits tell pools and hosts apart: a pool's UUID must be one of a kind on its host.
  const uuid = `${host.uuid.slice(0, -2)}${pool === "shared" ? "f0" : "f1"}`;
  const xml = [
    "<pool type='dir'>",
    `  <name>${pool}</name>`,
    `  <uuid>${uuid}</uuid>`,
    "  <source/>",
    "  <target>",
    `    <path>${pools[pool]}</path>`,
    "  </target>",
    "</pool>",
    "",
  ].join("\n");
  return [
    { path: `libvirt/storage/${pool}.xml`, text: xml },
    { path: `libvirt/storage/autostart/${pool}.xml`, link: `/etc/libvirt/storage/${pool}.xml` },
  ];
}

const sshdConfig = [
  "Port 22",
  "HostKey /etc/godwit-lab/ssh_host_ed25519_key",
  "AuthorizedKeysFile /etc/godwit-lab/authorized_keys",
  "PermitRootLogin prohibit-password",
  "PasswordAuthentication no",
  "KbdInteractiveAuthentication no",
  "UsePAM no",
  "UseDNS no",
  "PrintMotd no",
  "X11Forwarding no",
  "# Many connections at once are what tests are about.",
  "MaxStartups 200",
  "MaxSessions 200",
  "Subsystem sftp internal-sftp",
  "PidFile /run/sshd.pid",
  "",
].join("\n");

/** An sshd to run: the machine's, or one unpacked with the libraries that the machine lacks. */
export interface SshdProgram {
  readonly path: string;
  readonly libraryPath: string | undefined;
}

/** What a host starts when it boots, and what starts it again after a test stopped it. */
function servicesFile(sshd: SshdProgram): string {
  const environment = sshd.libraryPath === undefined ? "" : `LD_LIBRARY_PATH=${sshd.libraryPath} `;
  return [
    "start_sshd() {",
    `  ${environment}${sshd.path} -f /etc/godwit-lab/sshd_config -E /var/log/libvirt/sshd.log`,
    "}",
    "start_libvirtd() {",
    "  libvirtd --daemon --listen",
    "}",
    "",
  ].join("\n");
}
