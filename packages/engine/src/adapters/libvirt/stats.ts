import type { TypedParam } from "@godwit/libvirt";
import { DomainState } from "@godwit/libvirt";
import type { VmFacts } from "../../model/vm.ts";

/** Bytes. */
export interface DiskSizes {
  readonly capacityBytes?: number | undefined;
  readonly allocatedBytes?: number | undefined;
}

/** What one record of the bulk statistics tells. */
export interface DomainStats {
  readonly state?: number | undefined;
  /** By target. Empty when the groups asked for have none. */
  readonly disks: ReadonlyMap<string, DiskSizes>;
}

interface Block {
  name?: string;
  capacity?: number;
  physical?: number;
  allocation?: number;
}

export function readStats(params: readonly TypedParam[]): DomainStats {
  const blocks = new Map<string, Block>();
  let state: number | undefined;
  for (const { field, value } of params) {
    if (field === "state.state") state = Number(value.value);
    const match = /^block\.(\d+)\.(name|capacity|physical|allocation)$/.exec(field);
    if (!match) continue;
    const block = blocks.get(match[1]!) ?? {};
    blocks.set(match[1]!, block);
    const member = match[2] as keyof Block;
    if (member === "name") block.name = String(value.value);
    else block[member] = Number(value.value);
  }
  const disks = new Map<string, DiskSizes>();
  for (const { name, capacity, physical, allocation } of blocks.values()) {
    if (name === undefined || disks.has(name)) continue;
    // `physical` is what the image takes on its storage; `allocation` of a qcow2 is the highest written offset.
    disks.set(name, { capacityBytes: capacity, allocatedBytes: physical ?? allocation });
  }
  return { state, disks };
}

const states: Readonly<Record<number, VmFacts["state"]>> = {
  [DomainState.RUNNING]: "running",
  [DomainState.BLOCKED]: "blocked",
  [DomainState.PAUSED]: "paused",
  [DomainState.SHUTDOWN]: "shutting-down",
  [DomainState.SHUTOFF]: "off",
  [DomainState.CRASHED]: "crashed",
  [DomainState.PMSUSPENDED]: "suspended",
};

/** NOSTATE, and what newer daemons may say, belong to a domain with an id: it is there and its processors idle. */
export function vmState(state: number | undefined, id: number): VmFacts["state"] {
  return states[state ?? -1] ?? (id < 0 ? "off" : "blocked");
}
