import { escapeXml } from "./edit.ts";

/**
 * The description of an empty image to be made. Unless it is told otherwise libvirt makes qcow2 images of version 2
 * (compat 0.10), which have no room for the lists of changes that checkpoints stand on.
 */
export function volumeXml(volume: { readonly name: string; readonly capacityBytes: number; readonly format: string }): string {
  const { name, capacityBytes, format } = volume;
  const compat = format === "qcow2" ? "<compat>1.1</compat>" : "";
  const target = `<target><format type='${escapeXml(format)}'/>${compat}</target>`;
  return `<volume><name>${escapeXml(name)}</name><capacity unit='bytes'>${capacityBytes}</capacity><allocation unit='bytes'>0</allocation>${target}</volume>`;
}
