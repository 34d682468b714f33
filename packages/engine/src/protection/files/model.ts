/** What was asked for, with ids beside names. */
export type FilesCaptureInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly vaultId: string;
  readonly vault: string;
  /** Its points are named `VM:SET`. */
  readonly set: string;
  /** Absolute, in the guest. */
  readonly paths: readonly string[];
  readonly groupId?: string;
};

/** As a client asks. Names or ids. */
export interface FilesCaptureWish {
  readonly vm: string;
  readonly vault: string;
  readonly set?: string | undefined;
  readonly paths: readonly string[];
}

/** Bytes and milliseconds. */
export interface FilesCaptured {
  readonly outcome: "files-captured";
  readonly vmId: string;
  readonly vm: string;
  readonly host: string;
  readonly vault: string;
  readonly pointId: string;
  readonly set: string;
  readonly paths: readonly string[];
  /** Of the archive. */
  readonly readBytes: number;
  /** What the vault grew by. */
  readonly storedBytes: number;
  readonly warnings: readonly string[];
  readonly totalMs: number;
}

export type FilesRecoverInput = {
  readonly pointId: string;
  readonly vaultId: string;
  readonly vault: string;
  readonly vmId: string;
  readonly vm: string;
  /** Absolute, in the guest. */
  readonly into: string;
};

export interface FilesRecoverWish {
  readonly point: string;
  readonly vault?: string | undefined;
  readonly vm: string;
  readonly into: string;
}

export interface FilesRecovered {
  readonly outcome: "files-recovered";
  readonly vm: string;
  readonly vault: string;
  readonly pointId: string;
  /** The moment that the files are of. */
  readonly at: string;
  readonly into: string;
  readonly bytes: number;
  readonly totalMs: number;
}

/** The archive in a point of files. */
export const ARCHIVE_DISK = "files.tar";

/** Points of files have a name of their own: they are no state of the VM's disks. */
export function filesPointName(vm: string, set: string): string {
  return `${vm}:${set}`;
}
