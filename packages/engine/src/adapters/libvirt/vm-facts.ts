import type { VmDisk, VmFacts } from "../../model/vm.ts";
import type { DiskSizes } from "./stats.ts";
import { describeSource, type DiskXml, type DomainXml } from "./xml/index.ts";

/** What a definition says of a VM; the rest of {@link VmFacts} changes without it. */
export type DefinedFacts = Omit<VmFacts, "state" | "persistent" | "autostart">;

export function definedFacts(xml: DomainXml): DefinedFacts {
  return {
    id: xml.uuid,
    name: xml.name,
    title: xml.title,
    vcpus: xml.vcpus,
    memoryBytes: xml.memoryBytes,
    cpu: { mode: xml.cpu.mode, model: xml.cpu.model },
    domainType: xml.type,
    machine: xml.machine,
    agent: xml.agent,
    generationId: xml.generationId,
    disks: xml.disks.map(disk),
    nics: xml.nics.map(({ mac, model, type, source }) => ({ mac, model, type, source })),
  };
}

function disk(xml: DiskXml): VmDisk {
  return {
    target: xml.target,
    device: xml.device,
    bus: xml.bus,
    source: { type: xml.type, path: xml.source && describeSource(xml.source), pool: xml.source?.pool },
    format: xml.format,
    readOnly: xml.readOnly,
    shareable: xml.shareable,
    backingChain: xml.backing.flatMap((image) => describeSource(image) ?? []),
  };
}

export function withSizes(disks: readonly VmDisk[], sizes: ReadonlyMap<string, DiskSizes>): VmDisk[] {
  return disks.map((disk) => ({ ...disk, ...sizes.get(disk.target) }));
}

/** What is left of a VM whose definition cannot be read: it is there, and that is what counts. */
export function undefinedFacts(id: string, name: string): DefinedFacts {
  return { id, name, vcpus: 0, memoryBytes: 0, cpu: { mode: "unknown" }, domainType: "unknown", agent: "none", disks: [], nics: [] };
}
