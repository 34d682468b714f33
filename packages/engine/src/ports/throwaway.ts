import type { HostShell } from "./shell.ts";

interface Cancellable {
  readonly signal: AbortSignal;
}

/**
 * A guest without a system and without a definition, that lives for one purpose: it carries files of a VM that is off
 * from host to host as its disks, or is moved to try a path. Inventories do not show it.
 */
export interface Throwaway {
  /** UUID; whoever starts it keeps it on record before, to be able to end it. */
  readonly id: string;
  readonly purpose: "copy" | "trial";
  /** Made like this VM of the host: the same emulator, machine and kind of emulation. */
  readonly like?: string | undefined;
  /** Without a VM to be like: whether the host's hardware runs it. */
  readonly accelerated?: boolean | undefined;
  /** Its disks, byte for byte as they are. */
  readonly files: readonly string[];
  /** Its processor runs; otherwise not one instruction does. */
  readonly runs: boolean;
}

export interface ThrowawayGuests {
  /** Starts it. Rejects with `hypervisor` when the host cannot. */
  startThrowaway(guest: Throwaway, options: Cancellable): Promise<void>;
  /** Ends it; nothing happens when it is not there. Files and images stay. */
  endThrowaway(id: string, options: Cancellable): Promise<void>;
  /**
   * Ends its process on the host while a move of it is under way that does not end by itself. A hypervisor asked to end
   * it may wait for that very move.
   */
  killThrowaway(id: string, shell: HostShell, options: Cancellable): Promise<void>;
}

/** The target of its disk at a place, by which a move names it: `vda`, `vdb`… */
export function throwawayDisk(at: number): string {
  return `vd${String.fromCharCode("a".charCodeAt(0) + at)}`;
}

/** Disks that one such guest takes. */
export const maximumThrowawayDisks = 20;
