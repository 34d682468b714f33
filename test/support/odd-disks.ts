import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { LabGuest, LabHost } from "@godwit/lab";
import { examplesOf } from "./examples.ts";

/** A disk that the lab's guests do not have of themselves: how it is made, what the guest is told of it, and where its bytes are. */
export interface OddDisk {
  readonly target: string;
  /** As `qemu-img compare -f` and its file want it, on the guest's host. */
  readonly format: "qcow2" | "raw";
  readonly path: string;
}

const sizeMiB = 24;
const port = 10_817;

/** What the guide tells an admin to do with a raw image. */
const guide = readFileSync(join(import.meta.dirname, "../../docs/guides/protecting-vms.md"), "utf8");
const wrapRaw = examplesOf(guide).files.get("wrap") ?? "";

/** Gives a guest that is off a wrapped raw disk, one on another host's NBD server, and a block device. Dispose to take the device away. */
export async function addOddDisks(
  guest: LabGuest,
  host: LabHost,
  other: LabHost,
): Promise<AsyncDisposable & { readonly disks: readonly OddDisk[] }> {
  const random = (path: string): string =>
    `truncate -s ${sizeMiB}M ${path}; dd if=/dev/urandom of=${path} bs=1M count=4 seek=2 conv=notrunc status=none`;
  const wrap = wrapRaw.replaceAll("X.", "odd-vdc.").replaceAll("W.", "odd-vdc-wrapper.");
  await host.exec([
    "bash",
    "-euc",
    `cd /srv/local; ${random("odd-vdc.raw")}; sha256sum odd-vdc.raw >odd.sum; ${wrap}\nsha256sum -c --quiet odd.sum`,
  ]);
  const address = other.addresses.storage;
  const serve = `qemu-nbd --fork --persistent --shared=8 -f raw -x odd -b ${address} -p ${port} --pid-file=/run/odd-nbd.pid /srv/local/odd-vdd.raw`;
  await other.exec(["bash", "-euc", `${random("/srv/local/odd-vdd.raw")}; ${serve} </dev/null >/dev/null 2>&1`]);
  const loop = await host.exec(["bash", "-euc", `${random("/srv/local/odd-vde.raw")}; losetup -f --show /srv/local/odd-vde.raw`]);
  const device = loop.stdout.trim();
  const sources = {
    vdc: ["file", "qcow2", "<source file='/srv/local/odd-vdc-wrapper.qcow2'/>"],
    vdd: ["network", "raw", `<source protocol='nbd' name='odd'><host name='${address}' port='${port}'/></source>`],
    vde: ["block", "raw", `<source dev='${device}'/>`],
  } as const;
  for (const [target, [type, format, source]] of Object.entries(sources)) {
    const xml = `<disk type='${type}' device='disk'><driver name='qemu' type='${format}'/>${source}<target dev='${target}' bus='virtio'/></disk>`;
    const attach = `echo "$1" >/tmp/disk.xml; virsh -q -c qemu:///system attach-device ${guest.name} /tmp/disk.xml --config`;
    await host.exec(["bash", "-euc", attach, "sh", xml]);
  }
  return {
    disks: [
      { target: "vdc", format: "qcow2", path: "/srv/local/odd-vdc-wrapper.qcow2" },
      { target: "vdd", format: "raw", path: `nbd://${address}:${port}/odd` },
      { target: "vde", format: "raw", path: device },
    ],
    async [Symbol.asyncDispose]() {
      if (host.isUp) await host.exec(["losetup", "-d", device], { check: false });
    },
  };
}
