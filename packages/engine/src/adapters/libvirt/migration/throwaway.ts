import { DomainCreateFlags, isLibvirtError } from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";
import { type Throwaway, throwawayDisk, type ThrowawayGuests } from "../../../ports/throwaway.ts";
import { escapeXml } from "../xml/edit.ts";
import { type DomainXml, parseDomain } from "../xml/index.ts";
import { guestProcess } from "./guest-process.ts";
import { findDomain, type LibvirtAccess, needDomain, saying } from "./access.ts";

/** Enough for any machine type to start; memory that nobody touches is not sent. */
const memoryMiB = 16;

/** Arguments are names of guests. */
const killProcess = `${guestProcess}
for name; do guest_process "$name" && kill -9 "$pid"; done; true`;

export function throwawayGuests(host: LibvirtAccess): ThrowawayGuests {
  const { remote } = host.connection;
  return {
    async startThrowaway(guest, { signal }) {
      const like = guest.like === undefined ? undefined : parseDomain(await xmlOf(host, guest.like, signal));
      const flags = guest.runs ? 0 : DomainCreateFlags.PAUSED;
      try {
        await remote.domainCreateXml({ xmlDesc: throwawayXml(guest, like), flags }, { signal });
      } catch (error) {
        if (!isLibvirtError(error)) throw error;
        throw new EngineError("hypervisor", `it does not start a guest for it: ${saying(error)}`, {}, { cause: error });
      }
    },
    async killThrowaway(id, shell, { signal }) {
      const names = (["copy", "trial"] as const).map((purpose) => nameOf({ id, purpose }));
      await shell.run(["/bin/sh", "-c", killProcess, "sh", ...names], { signal });
    },
    async endThrowaway(id, { signal }) {
      const dom = await findDomain(host.connection, id, signal);
      if (!dom) return;
      try {
        await remote.domainDestroyFlags({ dom, flags: 0 }, { signal });
      } catch (error) {
        if (!isLibvirtError(error, "NO_DOMAIN", "OPERATION_INVALID")) throw error; // It ended by itself.
      }
    },
  };
}

async function xmlOf(host: LibvirtAccess, vmId: string, signal: AbortSignal): Promise<string> {
  const dom = await needDomain(host.connection, vmId, signal);
  return await host.connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal });
}

const prefix = "godwit-";

/** A name that holds the guest's UUID collides with nobody's. */
function nameOf({ id, purpose }: Pick<Throwaway, "id" | "purpose">): string {
  return `${prefix}${purpose}-${id.replaceAll("-", "")}`;
}

/** Whether a domain is one of these guests. */
export function isThrowaway({ name, uuid }: { readonly name: string; readonly uuid: string }): boolean {
  return name.startsWith(prefix) && (["copy", "trial"] as const).some((purpose) => name === nameOf({ id: uuid, purpose }));
}

function throwawayXml(guest: Throwaway, like: DomainXml | undefined): string {
  const attribute = (name: string, value: string | undefined): string => (value === undefined ? "" : ` ${name}='${escapeXml(value)}'`);
  const emulator = like?.emulator === undefined ? "" : `<emulator>${escapeXml(like.emulator)}</emulator>`;
  const disks = guest.files.map(
    (path, at) =>
      `<disk type='file' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source file='${escapeXml(path)}'/>` +
      `<target dev='${throwawayDisk(at)}' bus='virtio'/></disk>`,
  );
  return [
    `<domain type='${escapeXml(like?.type ?? (guest.accelerated === true ? "kvm" : "qemu"))}'>`,
    `<name>${nameOf(guest)}</name><uuid>${guest.id}</uuid>`,
    `<memory unit='MiB'>${memoryMiB}</memory><vcpu>1</vcpu>`,
    `<os><type${attribute("arch", like?.arch)}${attribute("machine", like?.machine)}>hvm</type></os>`,
    "<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>",
    `<devices>${emulator}<controller type='usb' model='none'/>${disks.join("")}<memballoon model='none'/></devices>`,
    "</domain>",
  ].join("");
}
