import type { HostView } from "../model/host.ts";
import type { NetworkVerdict } from "../model/network.ts";
import type { Check } from "../model/reason.ts";
import type { CopyWish, DestinationFacts, SnapshotFacts, SourceFacts } from "../ports/migration.ts";
import { fail, gib, pass, warn } from "./checks.ts";
import type { MigrationKind } from "./model.ts";
import { storageChecks } from "./preflight-storage.ts";

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
  readonly kind: MigrationKind;
  /** A job of Godwit's own that holds the VM, and lets it go when a move wants it. */
  readonly yields?: YieldingJob | undefined;
  readonly copies: readonly CopyWish[];
  readonly storagePool?: string | undefined;
  readonly storageByDisk?: Readonly<Record<string, string>> | undefined;
}

/** A job that a move gets past: at once, or when it has ended. */
export interface YieldingJob {
  readonly id: string;
  readonly title: string;
  readonly when: "at-once" | "at-its-end";
}

/** Judges whether a VM may move; every check has a verdict, failed ones a way out. Pure. */
export function preflight(facts: PreflightFacts): Check[] {
  return [
    state(facts),
    ...definition(facts),
    identity(facts),
    job(facts),
    ...snapshots(facts),
    ties(facts),
    cpu(facts),
    machine(facts),
    memory(facts),
    ...nics(facts),
    ...storageChecks(facts),
    network(facts),
    ...versions(facts),
  ];
}

function state({ vm: { vm }, source, destination, kind }: PreflightFacts): Check {
  if (source.id === destination.id) return fail("destination", `${vm.name} is on ${destination.name} already`, "name another host");
  const wanted = kind === "cold" ? "off" : "running";
  if (vm.state === wanted) return pass("state", `${vm.name} is ${wanted} on ${source.name}`);
  if (kind === "cold") {
    const instead = vm.state === "running" ? "shut it down first, or leave --kind out to move it while it runs" : "shut it down first";
    return fail("state", `${vm.name} is ${vm.state}, not off`, instead);
  }
  const remedy = vm.state === "off" ? "start it first, or move it with --kind cold" : "let it run on first: only a running guest moves so";
  return fail("state", `${vm.name} is ${vm.state}, not running`, remedy);
}

/** What a VM that stops has to be put together from on the other side. */
function definition({ vm, kind, source }: PreflightFacts): Check[] {
  if (kind === "live") return [];
  const checks: Check[] = [];
  if (!vm.vm.persistent)
    checks.push(fail("definition", `${vm.vm.name} has no definition, and is gone when it stops`, "move it with --kind live"));
  for (const state of vm.keptByHost)
    checks.push(
      fail("kept-state", `the state of ${state} is kept on ${source.name}, and would be left behind`, "move it with --kind live"),
    );
  if (vm.savedMemory)
    checks.push(
      fail(
        "memory-state",
        `the memory of ${vm.vm.name} was saved on ${source.name}, and would be lost`,
        "start it, so that it resumes, and move it then",
      ),
    );
  return checks;
}

function identity({ vm: { vm }, there, destination, kind }: PreflightFacts): Check {
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
  if (there.sameUuid && kind !== "live") {
    return fail("identity", `${destination.name} has a definition of ${vm.name} already`, `undefine it on ${destination.name}`);
  }
  if (there.sameName !== undefined) {
    return fail("identity", `${destination.name} has another VM named '${vm.name}' (${there.sameName})`, `rename one of both`);
  }
  return pass("identity", `${destination.name} has no other VM of this name or UUID`);
}

function job({ vm, yields }: PreflightFacts): Check {
  if (yields !== undefined && (vm.job === undefined || vm.job === "backup")) {
    const { id, title, when } = yields;
    return when === "at-once"
      ? pass("job", `job ${id} (${title}) is parked for it, and goes on at the destination`)
      : warn("job", `it waits until job ${id} (${title}) has ended`, "cancel that job, or let captures park (--on-migration park)");
  }
  const busy = vm.disks.find((disk) => disk.blockJob !== undefined);
  if (vm.job !== undefined) return fail("job", `a ${vm.job} of ${vm.vm.name} is under way`, "wait until it has ended, or cancel it");
  if (busy) return fail("job", `a block job (${busy.blockJob ?? ""}) runs on disk ${busy.target}`, "wait until it has ended, or abort it");
  return pass("job", "no other operation holds it");
}

/** Snapshots inside of disk images move with them; libvirt takes their records anew for a VM that stands still. */
function snapshots({ vm, kind }: PreflightFacts): Check[] {
  const count = vm.snapshots.length;
  if (count === 0) return [];
  const have = `${vm.vm.name} has ${count} snapshot${count === 1 ? "" : "s"}`;
  if (kind === "live")
    return [fail("snapshots", `${have}, which libvirt does not move while it runs`, "delete them, or move it with --kind quick or cold")];
  const stuck = vm.snapshots.filter((snapshot) => snapshot.memory === "file" || snapshot.externalDisks);
  if (stuck.length === 0) return [pass("snapshots", `${have}, which move with the disks and are recorded anew`)];
  const why = (snapshot: SnapshotFacts): string =>
    `'${snapshot.name}' keeps ${snapshot.memory === "file" ? "its memory" : "disks"} in files of its own`;
  return [fail("snapshots", `${have}, of which ${stuck.map(why).join(", ")}`, "merge or delete those; they would be left behind")];
}

function ties({ vm, source, kind, destination }: PreflightFacts): Check {
  if (vm.ties.length === 0) return pass("devices", "nothing ties it to the hardware of its host");
  if (kind === "cold")
    return warn(
      "devices",
      `it uses what ${destination.name} may not have: ${vm.ties.join(", ")}`,
      "check its definition before it starts there",
    );
  return fail(
    "devices",
    `it uses what only ${source.name} has: ${vm.ties.join(", ")}`,
    "detach it from the running guest, or move the VM while it is off",
  );
}

function cpu({ there, destination, kind }: PreflightFacts): Check {
  if (there.cpu.fits === true) return pass("cpu", there.cpu.text);
  if (there.cpu.fits === "unknown") return warn("cpu", there.cpu.text, "libvirt will check again when the migration begins");
  const missing = there.cpu.missing.length > 0 ? `: ${there.cpu.missing.join(", ")} missing` : "";
  if (kind === "cold")
    return warn(
      "cpu",
      `${destination.name} cannot start it with its CPU${missing} (${there.cpu.text})`,
      "give it another CPU model before it starts there",
    );
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

function memory({ vm: { vm }, there, destination, kind }: PreflightFacts): Check {
  if (kind === "cold") return pass("memory", "it is off, and needs no memory there");
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

function network({ networks, destination, kind, copies }: PreflightFacts): Check {
  if (kind !== "live" && copies.length === 0) return pass("migration-network", "nothing goes from host to host");
  const chosen = networks.find((verdict) => verdict.verdict === "chosen");
  if (chosen) return pass("migration-network", `over ${chosen.network} to ${chosen.destinationAddress ?? ""}: ${chosen.reason.text}`);
  const out = networks.map((verdict) => `${verdict.network}: ${verdict.reason.text}`).join("; ");
  const none = `no network may carry it to ${destination.name}${out === "" ? "" : ` (${out})`}`;
  const see = "see 'godwit migration explain', and the settings it names";
  if (kind === "live") return fail("migration-network", none, see);
  return warn("migration-network", `${none}: its files go through the server, over the networks that it reaches both hosts by`, see);
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
