import { join } from "node:path";

/** Where every lab of this machine keeps its files: `<number>/` and, while it lives, `<number>.lock`. */
export const labsRoot = "/var/lib/godwit-lab";

export function labDir(index: number): string {
  return join(labsRoot, String(index));
}

/** The programs that hold a lab together, run as they are from the package. */
export function script(
  name:
    | "keeper.sh"
    | "sweep.sh"
    | "lab-init.sh"
    | "host-boot.sh"
    | "host-init.sh"
    | "guest-init.sh"
    | "guest-shutdown.sh"
    | "guest-records.sh",
): string {
  return join(import.meta.dirname, "../scripts", name);
}

/** What a lab's folder holds. All of it is gone when the lab is. */
export function labPaths(dir: string): LabPaths {
  return {
    dir,
    state: join(dir, "lab.json"),
    keeperPid: join(dir, "keeper.pid"),
    keeperLog: join(dir, "keeper.log"),
    shared: join(dir, "shared"),
    acks: join(dir, "acks"),
    guest: join(dir, "guest"),
    guests: join(dir, "guests"),
    client: join(dir, "client"),
    work: join(dir, "work"),
    host: (name) => join(dir, "hosts", name),
  };
}

export interface LabPaths {
  readonly dir: string;
  readonly state: string;
  readonly keeperPid: string;
  readonly keeperLog: string;
  /** `/srv/shared` of every host. */
  readonly shared: string;
  /** `/srv/acks` of every host: what guests say they have durably written. */
  readonly acks: string;
  /** `/srv/guest` of every host: the guests' kernel and initrd. */
  readonly guest: string;
  /** One JSON file for each guest. */
  readonly guests: string;
  /** The keys and certificates of whoever drives the lab. */
  readonly client: string;
  readonly work: string;
  /** A host's `/run`, `/root`, `/var/lib/libvirt` (lib) and `/var/log/libvirt` (log), and what its `/etc` is made of. */
  readonly host: (name: string) => string;
}
