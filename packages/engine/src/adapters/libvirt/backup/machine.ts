import type { MachineState } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { type LibvirtAccess, needDomain } from "../migration/access.ts";
import { parseDomain } from "../xml/index.ts";
import { domainDefinition } from "./facts.ts";

/** Firmware variables and the TPM's state, as names of files in a recovery point. */
export const NVRAM_FILE = "nvram";
export const TPM_FILE = "tpm.tar.gz";

/** `$1` is a file: prints it in base64, or nothing when there is none. */
const readFile = `[ -f "$1" ] || exit 0; base64 <"$1"`;
/** `$1` is the VM: its emulated TPM's folder (libvirt, swtpm), packed. */
const readTpm = `cd "/var/lib/libvirt/swtpm/$1" 2>/dev/null || exit 0; tar -cz --exclude='*.lock' . | base64`;

/** The definition as it would be started again, with what its firmware and TPM keep. */
export async function readMachine(
  { host, shell }: { host: LibvirtAccess; shell: HostShell },
  vmId: string,
  signal: AbortSignal,
): Promise<MachineState> {
  const dom = await needDomain(host.connection, vmId, signal);
  const definition = await domainDefinition(host.connection, dom, signal);
  const { firmware, tpms } = parseDomain(definition);
  const scripts = [
    ...(firmware.nvram === undefined ? [] : [{ name: NVRAM_FILE, argv: [readFile, "sh", firmware.nvram] }]),
    ...(tpms.some(({ backend }) => backend === "emulator") ? [{ name: TPM_FILE, argv: [readTpm, "sh", vmId] }] : []),
  ];
  const files: MachineState["files"][number][] = [];
  for (const { name, argv } of scripts) {
    const { stdout } = await shell.run(["/bin/sh", "-c", ...argv], { signal });
    if (stdout.trim() !== "") files.push({ name, data: Buffer.from(stdout, "base64") });
  }
  return { definition, files };
}
