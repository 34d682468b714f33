import { createHash } from "node:crypto";
import { guestBridge } from "../switch.ts";

/** A disk of a guest: a file on its host, `shared` or `local` being the pools of that name. */
export interface GuestDisk {
  /** `vda`, `vdb`, … */
  readonly target: string;
  readonly path: string;
  readonly format: "qcow2" | "raw";
  readonly storage: "shared" | "local";
  readonly sizeMiB: number;
}

/** All that a guest's definition is made of. It is written down, so that other processes can use the guest. */
export interface GuestRecord {
  readonly name: string;
  readonly uuid: string;
  /** The name of the host that it was created on. */
  readonly home: string;
  readonly memoryMiB: number;
  readonly vcpus: number;
  readonly disks: readonly GuestDisk[];
  readonly nics: number;
  /** An emulated TPM, whose state its host keeps. */
  readonly tpm?: boolean | undefined;
  readonly records: { readonly slots: number; readonly perSecond: number } | undefined;
  readonly dirtyMiBPerSecond: number;
  /** The memory that this is written to. */
  readonly dirtyMiB: number;
  /** Bytes that are written at a time. */
  readonly dirtyGrain: number;
}

/** The port by which a guest acknowledges its records. */
export const recordsPort = "org.godwit.records.0";

/** Where a guest's acknowledgements are, on every host the same file: it outlives hosts and migrations. */
export function acksPath(guest: string): string {
  return `/srv/acks/${guest}.log`;
}

/** A guest that can move to any host of the lab: the same machine, processor and paths everywhere. */
export function domainXml(guest: GuestRecord): string {
  return [
    "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
    `  <name>${guest.name}</name>`,
    `  <uuid>${guest.uuid}</uuid>`,
    `  <memory unit='MiB'>${guest.memoryMiB}</memory>`,
    `  <vcpu>${guest.vcpus}</vcpu>`,
    "  <os>",
    "    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>",
    "    <kernel>/srv/guest/vmlinuz</kernel>",
    "    <initrd>/srv/guest/initrd</initrd>",
    `    <cmdline>${commandLine(guest)}</cmdline>`,
    "  </os>",
    "  <features><acpi/><apic/></features>",
    "  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>",
    "  <on_poweroff>destroy</on_poweroff>",
    "  <on_reboot>restart</on_reboot>",
    "  <on_crash>destroy</on_crash>",
    "  <devices>",
    "    <controller type='usb' model='none'/>",
    ...guest.disks.flatMap(diskXml),
    ...Array.from({ length: guest.nics }, (_, nic) => nicXml(guest, nic)),
    // Each host's own log: a shared one would be written by two at once during a migration.
    `    <serial type='file'><source path='/var/log/libvirt/${guest.name}-serial.log' append='on'/><target port='0'/></serial>`,
    "    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
    `    <channel type='file'><source path='${acksPath(guest.name)}' append='on'/><target type='virtio' name='${recordsPort}'/></channel>`,
    "    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "    <memballoon model='virtio'/>",
    ...(guest.tpm === true ? ["    <tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>"] : []),
    "  </devices>",
    ...oddMemory(guest),
    "</domain>",
    "",
  ].join("\n");
}

/** What an emulated processor is slow at and no guest of the lab needs: tests of cryptography, tracing, certificates. */
const needless = "cryptomgr.notests initcall_blacklist=init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init";

/**
 * QEMU before 9.0 looks for changed memory 256 KiB at a time where its size is a multiple of that, and then forgets to
 * tell its emulated processors: what they go on writing to such pages is never sent, and the guest's memory is wrong
 * after its move (QEMU, commit "physmem: Fix migration dirty bitmap coherency with TCG memory access"). libvirt gives
 * whole MiB only, so the guest gets memory of its own here, a little more than it was promised.
 */
function oddMemory({ memoryMiB }: GuestRecord): string[] {
  const kib = memoryMiB * 1024 + 128;
  const args = ["-object", `memory-backend-ram,id=odd,size=${kib}k`, "-machine", "memory-backend=odd", "-m", `size=${kib}k`];
  return ["  <qemu:commandline>", ...args.map((arg) => `    <qemu:arg value='${arg}'/>`), "  </qemu:commandline>"];
}

function commandLine(guest: GuestRecord): string {
  return [
    `console=ttyS0 quiet panic=5 mitigations=off random.trust_cpu=on nokaslr ${needless}`,
    `godwit.name=${guest.name}`,
    ...(guest.records ? [`godwit.records=${guest.records.slots},${guest.records.perSecond}`] : []),
    ...(guest.dirtyMiBPerSecond > 0 ? [`godwit.dirty=${guest.dirtyMiBPerSecond},${guest.dirtyGrain},${guest.dirtyMiB}`] : []),
  ].join(" ");
}

function diskXml(disk: GuestDisk): string[] {
  // Shared storage wants no cache that another host cannot see; local storage is a tmpfs, which older
  // kernels do not open with O_DIRECT.
  const cache = disk.storage === "shared" ? " cache='none'" : "";
  return [
    "    <disk type='file' device='disk'>",
    `      <driver name='qemu' type='${disk.format}'${cache} discard='unmap'/>`,
    `      <source file='${disk.path}'/>`,
    `      <target dev='${disk.target}' bus='virtio'/>`,
    "    </disk>",
  ];
}

function nicXml(guest: GuestRecord, nic: number): string {
  const bytes = createHash("sha256").update(`${guest.uuid}/${nic}`).digest().subarray(0, 3);
  const mac = ["52", "54", "00", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
  return `    <interface type='bridge'><mac address='${mac}'/><source bridge='${guestBridge}'/><model type='virtio'/></interface>`;
}
