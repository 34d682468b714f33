import type { BlockSource } from "@godwit/core";

interface Cancellable {
  readonly signal: AbortSignal;
}

/** What became of an archive that the guest made. */
export interface ArchiveEnd {
  /** What its `tar` had to say without failing, such as a file that changed while it was read. */
  readonly warnings: readonly string[];
}

/** How one kind of hypervisor reaches files in its guests, through their agents. One for each host connection. */
export interface HostGuestFiles {
  /**
   * Has the guest pack `paths` (absolute) as a tar archive, and hands that over piece by piece. Rejects with `invalid`
   * and the guest's words when it could not read all of them. `id` is unique; `end` undoes, whatever happened.
   */
  pack(
    vmId: string,
    archive: { readonly id: string; readonly paths: readonly string[] },
    take: (piece: Uint8Array) => Promise<void>,
    options: Cancellable,
  ): Promise<ArchiveEnd>;
  /** Has the guest unpack an archive below a folder (absolute), which is made. What is there and not in the archive stays. */
  unpack(
    vmId: string,
    archive: { readonly id: string; readonly into: string; readonly source: BlockSource },
    options: Cancellable & { readonly progress: (bytes: number) => void },
  ): Promise<void>;
  /** Takes away what `pack` and `unpack` made on the host, also for a server that died. Safe to repeat, also when the VM is gone. */
  end(vmId: string, options: Cancellable): Promise<void>;
}
