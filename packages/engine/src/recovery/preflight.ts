import type { Point } from "@godwit/vault";
import { fail, gib, pass, warn } from "../migration/checks.ts";
import type { Check } from "../model/reason.ts";
import type { DestinationFacts } from "../ports/migration.ts";
import type { RecoverInput } from "./model.ts";

export interface RecoveryFacts {
  readonly input: RecoverInput;
  readonly point: Point;
  /** Absent when no VM will be. */
  readonly there?: DestinationFacts | undefined;
  /** The VM that is to be replaced or written into. */
  readonly present?:
    | {
        readonly state: "running" | "paused" | "off";
        /** It is off, and would go on with memory that was saved. */
        readonly savedMemory: boolean;
        /** Bytes, by target. */
        readonly sizes: ReadonlyMap<string, number>;
        /** Disks that stay as they are, and that the definition in the point looks for elsewhere. */
        readonly moved: readonly string[];
      }
    | undefined;
}

/** Everything that stands in the way, at once. */
export function judgeRecovery(facts: RecoveryFacts): Check[] {
  const { input, there } = facts;
  const checks = [disksKnown(facts)];
  if (input.mode === "in-place" || input.mode === "replace") checks.push(isOff(facts));
  if (input.mode === "in-place") checks.push(sizes(facts));
  if (!there) return checks;
  if (input.mode !== "in-place") checks.push(pool(facts, there));
  if (input.mode === "new") checks.push(identity(facts, there), machine(facts, there), cpu(facts, there), network(facts, there));
  return checks;
}

function chosen({ input, point }: RecoveryFacts): Point["disks"] {
  return point.disks.filter(({ name }) => input.disks === undefined || input.disks.includes(name));
}

function disksKnown({ input, point, present }: RecoveryFacts): Check {
  const unknown = input.disks?.filter((name) => !point.disks.some((disk) => disk.name === name)) ?? [];
  if (unknown.length > 0)
    return fail(
      "disks",
      `the recovery point has no disk ${unknown.join(", ")}`,
      `it has ${point.disks.map(({ name }) => name).join(", ")}`,
    );
  const moved = input.mode === "replace" ? (present?.moved ?? []) : [];
  if (moved.length > 0) {
    const text = `${moved.join(", ")} of ${input.vm} moved since, and the VM as it was would look for it where it was`;
    return fail("disks", text, "recover all its disks, or some of them with --in-place");
  }
  const left = point.disks.filter(({ name }) => input.disks !== undefined && !input.disks.includes(name)).map(({ name }) => name);
  if (input.mode === "new" && input.newIdentity && left.length > 0) {
    return fail(
      "disks",
      `${left.join(", ")} of the new VM would be those that ${input.captured} has, and both would write to them`,
      "recover all its disks, or an image of one: godwit recover disk",
    );
  }
  return pass("disks", "the recovery point holds the disks");
}

function isOff({ input, present }: RecoveryFacts): Check {
  if (!present) return fail("vm", `there is no VM ${input.vm} to recover into`, "recover it as a new VM");
  if (present.savedMemory)
    return fail(
      "vm",
      `the memory of ${input.vm} was saved, and belongs to its disks as they are: it would go on with that, and not with what is recovered`,
      `start it, so that it resumes, and shut it down; or drop that memory: virsh managedsave-remove ${input.vm}`,
    );
  if (present.state === "off") return pass("vm", `${input.vm} is off`);
  return fail("vm", `${input.vm} is ${present.state}`, `stop it first: godwit vm stop ${input.vm}`);
}

function sizes(facts: RecoveryFacts): Check {
  const wrong = chosen(facts).filter(({ name, size }) => facts.present?.sizes.get(name) !== size);
  if (wrong.length === 0) return pass("size", "its disks are as large as they were");
  const text = wrong.map(({ name, size }) => `${name} was ${size} bytes and is ${facts.present?.sizes.get(name) ?? "gone"}`).join("; ");
  return fail("size", text, "recover with --replace, or as a new VM");
}

function pool(facts: RecoveryFacts, there: DestinationFacts): Check {
  const { input } = facts;
  const [found] = there.pools;
  if (!found) return fail("storage", "no storage pool was named", "name one with --storage");
  if (!found.present || !found.active) {
    return fail(
      "storage",
      `${input.host} has no active storage pool '${found.name}'`,
      `start it there, or name another: godwit storage list --host ${input.host}`,
    );
  }
  if (found.path === undefined) return fail("storage", `the storage pool '${found.name}' does not keep files`, "name one of type dir");
  const needed = chosen(facts).reduce((sum, { size }) => sum + size, 0);
  const text = `the disks hold up to ${gib(needed)}, '${found.name}' has ${gib(found.availableBytes)} free`;
  return found.availableBytes >= needed
    ? pass("storage", text)
    : warn("storage", text, "watch its free space: images grow as they are written");
}

function identity({ input }: RecoveryFacts, there: DestinationFacts): Check {
  if (there.sameUuid)
    return fail("name", `${input.host} has this VM already (${there.sameUuid.name})`, "recover with --replace, or with another --name");
  if (there.sameName !== undefined) return fail("name", `${input.host} has another VM named ${input.vm}`, "choose another --name");
  return pass("name", `${input.host} has no VM named ${input.vm}`);
}

function machine({ input }: RecoveryFacts, there: DestinationFacts): Check {
  const { known, text } = there.machine;
  return known
    ? pass("machine", text)
    : fail("machine", text, `install the emulator and machine type on ${input.host}, or choose another host`);
}

function cpu({ input }: RecoveryFacts, there: DestinationFacts): Check {
  if (there.cpu.fits === true) return pass("cpu", there.cpu.text);
  const remedy = "it is tried when it starts; give it another CPU model if it does not";
  return there.cpu.fits === "unknown" ? warn("cpu", there.cpu.text, remedy) : warn("cpu", `${input.host}: ${there.cpu.text}`, remedy);
}

function network({ input }: RecoveryFacts, there: DestinationFacts): Check {
  const absent = there.nics.filter(({ present }) => present === false).map(({ source }) => source);
  if (absent.length === 0) return pass("guest-network", "nothing that its network cards plug into is known to be missing");
  return fail(
    "guest-network",
    `${input.host} has no active network ${absent.join(", ")}`,
    "create it there, or map it with --network OLD=NEW",
  );
}
