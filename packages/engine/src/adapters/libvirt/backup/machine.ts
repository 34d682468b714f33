import { gunzipSync } from "node:zlib";
import { EngineError } from "../../../model/errors.ts";
import type { MachineState } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { type LibvirtAccess, needDomain } from "../migration/access.ts";
import { parseDomain, type TpmXml } from "../xml/index.ts";
import { domainDefinition } from "./facts.ts";

/** Firmware variables and the TPM's state, as names of files in a recovery point. */
export const NVRAM_FILE = "nvram";
export const TPM_FILE = "tpm.tar.gz";
/** Where libvirt keeps the state of emulated TPMs, a folder for each VM (libvirt, qemu_conf.c). */
export const TPM_FOLDER = "/var/lib/libvirt/swtpm";

/** `$1` is a file: prints it in base64, or nothing when there is none. */
const readFile = `[ -f "$1" ] || exit 0; base64 <"$1"`;
/** `$1` is the folder of an emulated TPM: packs it, or prints nothing when there is no state. swtpm replaces its files whole. */
const readTpm = `cd "$1" 2>/dev/null || exit 0; [ -n "$(find . -type f ! -name '*.lock' | head -n 1)" ] || exit 0
tar -cz --exclude='*.lock' . | base64`;
const tpmBytes = 8 << 20;

interface Parts {
  readonly host: LibvirtAccess;
  readonly shell: HostShell;
}

/** The definition as it would be started again, with what its firmware and TPM keep, and what of that no point can hold. */
export async function readMachine({ host, shell }: Parts, vmId: string, signal: AbortSignal): Promise<MachineState> {
  const dom = await needDomain(host.connection, vmId, signal);
  const definition = await domainDefinition(host.connection, dom, signal);
  const { firmware, tpms } = parseDomain(definition);
  const read = async (script: string, path: string): Promise<Buffer> => {
    const { code, stdout, stderr } = await shell.run(["/bin/sh", "-c", script, "sh", path], { signal });
    if (code !== 0) throw new EngineError("hypervisor", `${path} cannot be read: ${stderr.trim()}`, { path });
    return Buffer.from(stdout, "base64");
  };
  const [nvram, tpm] = await Promise.all([
    firmware.nvram === undefined ? undefined : read(readFile, firmware.nvram),
    tpms.some(isEmulated) ? read(readTpm, `${TPM_FOLDER}/${vmId}`).then(whole) : undefined,
  ]);
  const files = [
    ...(nvram && nvram.length > 0 ? [{ name: NVRAM_FILE, data: nvram }] : []),
    ...(tpm && tpm.length > 0 ? [{ name: TPM_FILE, data: tpm }] : []),
  ];
  return { definition, files, leftOut: tpms.flatMap((one) => whyLeftOut(one, tpm, vmId) ?? []) };
}

function isEmulated({ backend }: TpmXml): boolean {
  return backend === "emulator";
}

/** A folder that could be packed only in part is as good as none. Throws `hypervisor`. */
function whole(packed: Buffer): Buffer {
  if (packed.length === 0) return packed;
  try {
    gunzipSync(packed, { maxOutputLength: tpmBytes });
    return packed;
  } catch (cause) {
    throw new EngineError("hypervisor", "the state of the VM's TPM could not be read whole", {}, { cause });
  }
}

/** What the guest's TPM keeps cannot be had otherwise: a disk that is encrypted with it asks for its recovery key. */
function whyLeftOut(tpm: TpmXml, state: Buffer | undefined, vmId: string): string | undefined {
  if (!isEmulated(tpm))
    return `its TPM is ${tpm.backend === "passthrough" ? "the host's own" : tpm.backend}: what that keeps is in no recovery point`;
  if (state === undefined || state.length === 0)
    return `its TPM has no state below ${TPM_FOLDER}/${vmId} (it was never started, or its libvirt keeps that elsewhere): none is in the recovery point`;
  if (tpm.secret === undefined) return undefined;
  return `its TPM's state is encrypted with libvirt's secret ${tpm.secret}, which is in no recovery point: keep it, and define it where the VM is recovered`;
}
