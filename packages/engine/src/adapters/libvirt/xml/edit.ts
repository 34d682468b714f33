/**
 * Changes in the text of a definition that libvirt wrote: what is not touched stays byte for byte, elements that
 * this version does not know included. libvirt writes attributes in single quotes, and escapes what is in them.
 */
import type { DiskMapping, Mapping } from "../../../ports/offline.ts";

export function escapeXml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;" };
  return text.replace(/[&<>'"]/g, (character) => entities[character] ?? character);
}

/** Applies `edit` to every element of that name, but to none in the free-form metadata. */
function editElements(xml: string, name: "disk" | "interface", edit: (element: string) => string): string {
  const from = xml.indexOf("<metadata");
  const to = xml.lastIndexOf("</metadata>");
  const element = new RegExp(`<${name}\\s[^>]*[^/>]>[\\s\\S]*?</${name}>`, "g");
  const outside = (text: string): string => text.replaceAll(element, edit);
  if (from < 0 || to < from) return outside(xml);
  return outside(xml.slice(0, from)) + xml.slice(from, to) + outside(xml.slice(to));
}

/** The definition with other images, formats and networks. What the mapping does not name stays. */
export function mapDefinition(xml: string, { disks, networks }: Mapping): string {
  const withDisks = editElements(xml, "disk", (element) => {
    const target = /<target dev='([^']*)'/.exec(element)?.[1];
    const mapping = disks.find((disk) => escapeXml(disk.target) === target);
    return mapping === undefined ? element : mapDisk(element, mapping);
  });
  return editElements(withDisks, "interface", (element) =>
    element.replace(/<source (bridge|network|dev)='([^']*)'/, (whole, kind: string, name: string) => {
      const renamed = Object.entries(networks).find(([old]) => escapeXml(old) === name)?.[1];
      return renamed === undefined ? whole : `<source ${kind}='${escapeXml(renamed)}'`;
    }),
  );
}

/** A mapped disk is one file of its own: what was below it, or a pool that named it, is gone. */
function mapDisk(element: string, { path, format }: DiskMapping): string {
  const file = `<source file='${escapeXml(path)}'`;
  const sourced = element
    .replace(/^<disk type='[^']*'/, "<disk type='file'")
    .replace(/<source (?:file|dev|pool)='[^']*'(?: volume='[^']*')?/, file)
    .replace(/<mirror[\s\S]*<\/mirror>/, "")
    .replace(/(<backingStore)(?: type='[^']*'[^>]*)?>[\s\S]*<\/backingStore>/, "<backingStore/>");
  return format === undefined ? sourced : sourced.replace(/(<driver [^>]*?type=)'[^']*'/, `$1'${escapeXml(format)}'`);
}
