/**
 * Changes in the text of a definition that libvirt wrote: what is not touched stays byte for byte, elements that
 * this version does not know included. libvirt writes attributes in single quotes, and escapes what is in them.
 */
import { randomUUID } from "node:crypto";
import type { DiskMapping, Mapping } from "../../../ports/offline.ts";

export function escapeXml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;" };
  return text.replace(/[&<>'"]/g, (character) => entities[character] ?? character);
}

/** Applies `edit` to every element of that name, but to none in the free-form metadata. */
function editElements(xml: string, name: "disk" | "interface", edit: (element: string) => string): string {
  const parts: string[] = [];
  let at = 0;
  for (const { from, to } of metadataIn(xml)) {
    parts.push(editAll(xml.slice(at, from), name, edit), xml.slice(from, to));
    at = to;
  }
  return [...parts, editAll(xml.slice(at), name, edit)].join("");
}

/** Where the metadata of each definition is, whatever is in it: the description of a snapshot may hold two definitions. */
function metadataIn(xml: string): { readonly from: number; readonly to: number }[] {
  const found: { from: number; to: number }[] = [];
  let [depth, from, tagEnd] = [0, 0, 0];
  for (const { 0: tag, index } of xml.matchAll(/<\/?metadata(?=[\s/>])/g)) {
    if (tagEnd < index) tagEnd = xml.indexOf(">", index);
    if (tagEnd < 0) break;
    if (tag === "<metadata" && xml[tagEnd - 1] === "/") continue;
    if (tag === "<metadata" && depth === 0) from = index;
    depth += tag === "<metadata" ? 1 : -1;
    if (depth === 0) found.push({ from, to: tagEnd + 1 });
    depth = Math.max(0, depth);
  }
  return depth > 0 ? [...found, { from, to: xml.length }] : found;
}

/** In one pass, whatever the text is: a host may be hostile, and a definition has up to 4 Mi characters. */
function editAll(xml: string, name: string, edit: (element: string) => string): string {
  const [opening, closing] = [`<${name} `, `</${name}>`];
  const parts: string[] = [];
  let at = 0;
  for (let start = xml.indexOf(opening); start >= 0; start = xml.indexOf(opening, at)) {
    const tagEnd = xml.indexOf(">", start);
    const isEmpty = xml[tagEnd - 1] === "/";
    const end = isEmpty ? tagEnd + 1 : xml.indexOf(closing, start) + closing.length;
    if (tagEnd < 0 || end < tagEnd) break;
    parts.push(xml.slice(at, start), isEmpty ? xml.slice(start, end) : edit(xml.slice(start, end)));
    at = end;
  }
  return [...parts, xml.slice(at)].join("");
}

/** What is between the first opening and the last closing tag of that name becomes `instead`. */
function replaceElement(xml: string, name: string, instead: string): string {
  const start = xml.indexOf(`<${name} `) >= 0 ? xml.indexOf(`<${name} `) : xml.indexOf(`<${name}>`);
  const closing = `</${name}>`;
  const end = xml.lastIndexOf(closing);
  return start < 0 || end < start ? xml : xml.slice(0, start) + instead + xml.slice(end + closing.length);
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

/** The definition with another VM-Generation-ID, by which a guest notices that it was rolled back or copied; one that has none stays so. */
export function renewGenerationId(xml: string): string {
  return xml.replace(/<genid>[^<]*<\/genid>/, `<genid>${randomUUID()}</genid>`);
}

/** The definition with a VM-Generation-ID, which libvirt makes up; one that has one stays as it is. */
export function withGenerationId(xml: string): string {
  return /<genid>[^<]*<\/genid>|<genid\/>/.test(xml) ? xml : xml.replace(/(<\/uuid>)/, "$1\n  <genid/>");
}

/** A mapped disk is one file of its own: what was below it, or a pool that named it, is gone. */
function mapDisk(element: string, { path, format }: DiskMapping): string {
  const file = `<source file='${escapeXml(path)}'`;
  const alone = replaceElement(replaceElement(element, "mirror", ""), "backingStore", "<backingStore/>");
  const sourced = (alone.includes("<source protocol=") ? replaceElement(alone, "source", `${file}/>`) : alone)
    .replace(/^<disk type='[^']*'/, "<disk type='file'")
    // What says how to reach a network disk, secrets included, goes with its source.
    .replace(/<source protocol=[^>]*\/>/, () => `${file}/>`)
    .replace(/<source (?:file|dev|pool)='[^']*'(?: volume='[^']*')?/, () => file);
  return format === undefined
    ? sourced
    : sourced.replace(/(<driver [^>]*?type=)'[^']*'/, (_, before: string) => `${before}'${escapeXml(format)}'`);
}
