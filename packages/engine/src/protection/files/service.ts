import { EngineError } from "../../model/errors.ts";
import type { HostGuestFiles } from "../../ports/guest-files.ts";
import type { HypervisorHost } from "../../ports/hypervisor.ts";
import type { HostShell } from "../../ports/shell.ts";
import { givenName } from "../names.ts";
import { findPoint } from "../points.ts";
import type { Captures } from "../service.ts";
import { ARCHIVE_DISK, type FilesCaptureInput, type FilesCaptureWish, type FilesRecoverInput, type FilesRecoverWish } from "./model.ts";

export interface GuestFilesOptions {
  readonly captures: Captures;
  readonly open: (host: HypervisorHost, shell: HostShell) => HostGuestFiles;
  /** A folder of the server's that only it can read: archives are there until they are whole. */
  readonly spoolDir: string;
  /** Recoveries at once, of whole VMs among them. Default: 2. */
  readonly recoveriesAtOnce?: number;
}

/** Finds out what capturing and recovering files of guests means, and reaches the hosts. */
export class GuestFiles {
  readonly options: GuestFilesOptions;

  constructor(options: GuestFilesOptions) {
    this.options = options;
  }

  host(hostId: string): HostGuestFiles {
    const { hosts } = this.options.captures.options;
    return this.options.open(hosts.hypervisor(hostId), hosts.shell(hostId));
  }

  /** The input of a job `vm.capture-files`. Throws `not-found`, `ambiguous` or `invalid`. */
  async resolve({ vm: ref, vault: into, set = "files", paths }: FilesCaptureWish): Promise<FilesCaptureInput> {
    checkPaths(paths);
    if (!givenName.test(set))
      throw new EngineError("invalid", `'${set}' cannot name a set of files: up to 63 letters, digits, dots, hyphens and underscores`);
    const { hosts, vaults } = this.options.captures.options;
    const vm = hosts.vm(ref);
    const vault = await vaults.find(into);
    return { vmId: vm.id, vm: vm.name, vaultId: vault.id, vault: vault.name, set, paths };
  }

  /** The input of a job `vm.recover-files`. */
  async resolveRecovery(
    { point: ref, vault: from, vm: vmRef, into }: FilesRecoverWish,
    options: { readonly signal: AbortSignal },
  ): Promise<FilesRecoverInput> {
    checkPaths([into]);
    const { hosts, vaults } = this.options.captures.options;
    const { point, vault } = await findPoint(vaults, ref, from, options);
    if (!point.disks.some(({ name }) => name === ARCHIVE_DISK))
      throw new EngineError("invalid", `${ref} holds disks and no files: 'godwit recover vm' and 'godwit vault map' reach what is on them`);
    const vm = hosts.vm(vmRef);
    return { pointId: point.id, vaultId: vault.id, vault: vault.name, vmId: vm.id, vm: vm.name, into };
  }
}

/** Throws `invalid`. */
export function checkPaths(paths: readonly string[]): void {
  if (paths.length === 0 || paths.length > 1000) throw new EngineError("invalid", "name 1 to 1000 paths");
  for (const path of paths) if (!/^\/[^\0\n]*$/.test(path)) throw new EngineError("invalid", `'${path}' is no absolute path in a guest`);
}
