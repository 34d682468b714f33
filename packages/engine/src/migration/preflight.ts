import type { HostView } from "../model/host.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import type { DestinationFacts, MovableDisk, SourceFacts } from "../ports/migration.ts";

/** Whether the destination sees the same files; only asked when nothing is copied. */
export type Sharing = "shared" | "not-shared" | "missing" | "unproven";

/** Everything that a preflight looks at. */
export interface PreflightFacts {
  readonly source: HostView;
  readonly destination: HostView;
  readonly vm: SourceFacts;
  readonly there: DestinationFacts;
  /** By path. */
  readonly sharing: ReadonlyMap<string, Sharing>;
  readonly networks: readonly NetworkVerdict[];
  readonly pool?: string | undefined;
}

const pass = (id: string, text: string): Check => ({ id, verdict: "pass", text });
const warn = (id: string, text: string, remedy: string): Check => ({ id, verdict: "warn", text, remedy });
const fail = (id: string, text: string, remedy: string): Check => ({ id, verdict: "fail", text, remedy });

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** Disks that are copied when a pool is named: what the guest writes, in files. */
export function disksToCopy(disks: readonly MovableDisk[]): MovableDisk[] {
  return disks.filter((disk) => disk.device === "disk" && disk.type === "file" && !disk.readOnly && disk.path !== undefined);
}

/** Every file that must be the same one on both hosts. */
export function filesToShare(vm: SourceFacts, copy: boolean): string[] {
  const copied = new Set(copy ? disksToCopy(vm.disks).map((disk) => disk.target) : []);
  const paths = vm.disks
    .filter((disk) => !copied.has(disk.target) && (disk.type === "file" || disk.type === "block"))
    .flatMap((disk) => [...(disk.path === undefined ? [] : [disk.path]), ...disk.backing]);
  return [...new Set([...paths, ...vm.files])];
}

/** Judges whether a VM may move; every check has a verdict, failed ones a way out. Pure. */
export function preflight(facts: PreflightFacts): Check[] {
  return [
    state(facts),
    identity(facts),
    job(facts),
    ...snapshots(facts),
    ties(facts),
    cpu(facts),
    machine(facts),
    memory(facts),
    ...nics(facts),
    ...storage(facts),
    network(facts),
    ...versions(facts),
  ];
}

function state({ vm: { vm }, source, destination }: PreflightFacts): Check {
  if (source.id === destination.id) return fail("destination", `${vm.name} is on ${destination.name} already`, "name another host");
  if (vm.state === "running") return pass("state", `${vm.name} is running on ${source.name}`);
  const remedy = vm.state === "off" ? "start it first" : "let it run on first: only a running guest moves live";
  return fail("state", `${vm.name} is ${vm.state}, not running`, remedy);
}

function identity({ vm: { vm }, there, destination }: PreflightFacts): Check {
  if (there.sameUuid?.active) {
    return fail(
      "identity",
      `${destination.name} already runs '${there.sameUuid.name}' with the same UUID`,
      "find out which of both is the real one, and remove the other",
    );
  }
  if (there.sameUuid && there.sameUuid.name !== vm.name) {
    return fail(
      "identity",
      `${destination.name} defines '${there.sameUuid.name}' with the same UUID`,
      `undefine or rename it on ${destination.name}`,
    );
  }
  if (there.sameName !== undefined) {
    return fail("identity", `${destination.name} has another VM named '${vm.name}' (${there.sameName})`, `rename one of both`);
  }
  return pass("identity", `${destination.name} has no other VM of this name or UUID`);
}

function job({ vm }: PreflightFacts): Check {
  const busy = vm.disks.find((disk) => disk.blockJob !== undefined);
  if (vm.job !== undefined) return fail("job", `a ${vm.job} of ${vm.vm.name} is under way`, "wait until it has ended, or cancel it");
  if (busy) return fail("job", `a block job (${busy.blockJob ?? ""}) runs on disk ${busy.target}`, "wait until it has ended, or abort it");
  return pass("job", "no other operation holds it");
}

function snapshots({ vm }: PreflightFacts): Check[] {
  if (vm.snapshots === 0) return [];
  return [
    fail(
      "snapshots",
      `${vm.vm.name} has ${vm.snapshots} snapshots, which libvirt does not move`,
      "delete them, or move the VM while it is off",
    ),
  ];
}

function ties({ vm, source }: PreflightFacts): Check {
  if (vm.ties.length === 0) return pass("devices", "nothing ties it to the hardware of its host");
  return fail(
    "devices",
    `it uses what only ${source.name} has: ${vm.ties.join(", ")}`,
    "detach it from the running guest, or move the VM while it is off",
  );
}

function cpu({ there, destination }: PreflightFacts): Check {
  if (there.cpu.fits === true) return pass("cpu", there.cpu.text);
  if (there.cpu.fits === "unknown") return warn("cpu", there.cpu.text, "libvirt will check again when the migration begins");
  const missing = there.cpu.missing.length > 0 ? `: ${there.cpu.missing.join(", ")} missing` : "";
  return fail(
    "cpu",
    `${destination.name} cannot give the guest its CPU${missing} (${there.cpu.text})`,
    "give the VM a CPU model that both hosts have, and restart it",
  );
}

function machine({ there, destination }: PreflightFacts): Check {
  return there.machine.known
    ? pass("machine", there.machine.text)
    : fail("machine", there.machine.text, `install the emulator and machine type on ${destination.name}, or choose another machine type`);
}

function memory({ vm: { vm }, there, destination }: PreflightFacts): Check {
  if (there.freeMemoryBytes === undefined)
    return warn("memory", `${destination.name} does not say how much memory is free`, "check it by hand");
  const text = `${vm.name} needs ${gib(vm.memoryBytes)}, ${destination.name} has ${gib(there.freeMemoryBytes)} free`;
  return there.freeMemoryBytes >= vm.memoryBytes
    ? pass("memory", text)
    : fail("memory", text, `free memory on ${destination.name}, or choose another host`);
}

function nics({ vm, there, destination }: PreflightFacts): Check[] {
  const absent = there.nics.filter((nic) => nic.present === false);
  const doubtful = there.nics.filter((nic) => nic.present === "unknown");
  const name = (nic: { type: string; source: string }): string => `${nic.type} '${nic.source}'`;
  const checks = [
    ...absent.map((nic) =>
      fail("guest-network", `${destination.name} has no active ${name(nic)}`, `create or start it on ${destination.name}`),
    ),
    ...doubtful.map((nic) =>
      warn("guest-network", `whether ${destination.name} has ${name(nic)} cannot be seen`, "give Godwit SSH access to the host"),
    ),
  ];
  return checks.length > 0 ? checks : [pass("guest-network", `${destination.name} has what the ${vm.nics.length} network cards plug into`)];
}

function storage(facts: PreflightFacts): Check[] {
  const shared = filesToShare(facts.vm, facts.pool !== undefined).map((path) => sharedFile(path, facts));
  return [...(facts.pool === undefined ? [] : copies(facts)), ...shared];
}

function sharedFile(path: string, { sharing, source, destination, pool }: PreflightFacts): Check {
  switch (sharing.get(path) ?? "unproven") {
    case "shared":
      return pass("storage", `${path} is the same file on ${source.name} and ${destination.name}`);
    case "missing":
      return fail(
        "storage",
        `${destination.name} has no ${path}`,
        pool === undefined ? "share it, or copy the disks with --storage POOL" : "make it available there, or detach it",
      );
    case "not-shared":
      return fail("storage", `${path} on ${destination.name} is another file than on ${source.name}`, "copy the disks with --storage POOL");
    case "unproven":
      return warn(
        "storage",
        `whether ${path} is shared could not be proven`,
        "give Godwit SSH access to both hosts; libvirt decides whether it is safe",
      );
  }
}

function copies({ vm, there, pool = "", destination }: PreflightFacts): Check[] {
  const disks = disksToCopy(vm.disks);
  const found = there.pool;
  if (!found?.present)
    return [fail("storage-pool", `${destination.name} has no storage pool '${pool}'`, "name one of 'godwit storage list'")];
  if (!found.active || found.path === undefined)
    return [
      fail("storage-pool", `the storage pool '${pool}' of ${destination.name} is not an active one of files`, "start it, or name another"),
    ];
  if (disks.length === 0) return [fail("storage-pool", `${vm.vm.name} has no disk in a file that could be copied`, "leave --storage out")];
  const needed = disks.reduce((sum, disk) => sum + disk.capacityBytes, 0);
  const room = `the copies may grow to ${gib(needed)}, '${pool}' has ${gib(found.availableBytes)} free`;
  const chained = disks.filter((disk) => disk.backing.length > 0);
  return [
    needed <= found.availableBytes ? pass("storage-pool", room) : fail("storage-pool", room, "free space, or name another pool"),
    ...found.taken.map((name) =>
      fail("storage-pool", `'${pool}' of ${destination.name} already has a file ${name}`, "remove or rename it if nothing uses it"),
    ),
    ...chained.map((disk) => fail("storage-pool", `disk ${disk.target} has a backing file`, "flatten it first (virsh blockpull)")),
  ];
}

function network({ networks, destination }: PreflightFacts): Check {
  const chosen = networks.find((verdict) => verdict.verdict === "chosen");
  if (chosen) return pass("migration-network", `over ${chosen.network} to ${chosen.destinationAddress ?? ""}: ${chosen.reason.text}`);
  const out = networks.map((verdict) => `${verdict.network}: ${verdict.reason.text}`).join("; ");
  return fail(
    "migration-network",
    `no network may carry it to ${destination.name}${out === "" ? "" : ` (${out})`}`,
    "see 'godwit migration explain', and the settings it names",
  );
}

function versions({ source, destination }: PreflightFacts): Check[] {
  const [from, to] = [source.facts?.versions.libvirt, destination.facts?.versions.libvirt];
  if (from === undefined || to === undefined || compareVersions(to, from) >= 0) return [];
  return [
    warn(
      "versions",
      `libvirt ${to} of ${destination.name} is older than ${from} of ${source.name}`,
      "a newer definition may be refused; upgrade the destination first",
    ),
  ];
}

/** Negative when `a` is older. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
