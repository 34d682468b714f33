import type { SnapshotFacts } from "../../../ports/migration.ts";
import { parseDocument } from "./document.ts";

/** Reads a snapshot's `<domainsnapshot>`. Throws `XmlError`; never anything else. */
export function parseSnapshot(text: string): SnapshotFacts & { readonly parent?: string | undefined } {
  const snapshot = parseDocument(text, "domainsnapshot");
  const memory = snapshot.child("memory")?.attribute("snapshot");
  const disks = snapshot.child("disks")?.children("disk") ?? [];
  return {
    name: snapshot.needText("name"),
    memory: memory === "internal" ? "in-disk" : memory === "external" ? "file" : "none",
    externalDisks: disks.some((disk) => disk.attribute("snapshot") === "external"),
    parent: snapshot.textOf("parent", "name"),
  };
}

/** Name and parent of a `<domaincheckpoint>`. Throws `XmlError`; never anything else. */
export function parseCheckpointParent(text: string): { readonly name: string; readonly parent?: string | undefined } {
  const checkpoint = parseDocument(text, "domaincheckpoint");
  return { name: checkpoint.needText("name"), parent: checkpoint.textOf("parent", "name") };
}
