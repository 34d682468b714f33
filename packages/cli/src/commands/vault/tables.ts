import type { HurtDisk, Point, PointList, SlotInfo, VerifyResult } from "@godwit/vault";
import { type Column, renderFields, renderTable } from "../../output/table.ts";
import { formatBytes } from "../../output/units.ts";
import { shortId } from "./words.ts";

const sizeOf = (point: Point): number => point.disks.reduce((sum, disk) => sum + disk.size, 0);
const figure = (point: Point, name: string): string | undefined => {
  const value = point.figures[name];
  return value === undefined ? undefined : formatBytes(value);
};

export function putTable(point: Point): string {
  const fields = renderFields([
    ["point", shortId(point.id)],
    ["VM", point.name],
    ["time", point.time],
    ["disks", point.disks.map((disk) => `${disk.name} (${formatBytes(disk.size)})`).join(", ")],
    ["read", figure(point, "readBytes")],
    ["new chunks", `${point.figures["newChunks"] ?? 0} of ${point.figures["chunks"] ?? 0}`],
    ["stored", figure(point, "storedBytes")],
    ["resumed", (point.figures["adoptedPacks"] ?? 0) > 0 ? `${point.figures["adoptedPacks"] ?? 0} packs were there already` : undefined],
  ]);
  return fields + point.reasons.map((reason) => `  ${reason}\n`).join("");
}

const pointColumns: readonly Column<Point>[] = [
  { title: "POINT", value: (point) => shortId(point.id) },
  { title: "VM", value: (point) => point.name },
  { title: "TIME", value: (point) => point.time },
  { title: "DISKS", value: (point) => point.disks.map((disk) => disk.name).join(", ") },
  { title: "SIZE", value: (point) => formatBytes(sizeOf(point)), align: "right" },
  { title: "STORED", value: (point) => figure(point, "storedBytes"), align: "right" },
  { title: "CONSISTENCY", value: (point) => point.consistency.level },
];

export function pointsTable({ points, damaged, locked }: PointList): string {
  const notes = [
    ...damaged.map((id) => `${shortId(id)} is damaged: what it listed cannot be found from here\n`),
    ...locked.map((id) => `${shortId(id)} is sealed with a newer key than this secret opens\n`),
  ];
  return renderTable(pointColumns, points) + notes.join("");
}

export function pointTable(point: Point): string {
  const fields = renderFields([
    ["point", point.id],
    ["VM", point.name],
    ["time", point.time],
    ["consistency", [point.consistency.level, ...point.consistency.evidence].join(": ")],
    ["parent", point.parent],
    ["chunk size", formatBytes(point.grid)],
    ["read", figure(point, "readBytes")],
    ["stored", figure(point, "storedBytes")],
    ["definition", point.machine ? `${point.machine.definition.length} characters, ${point.machine.files.length} files` : undefined],
  ]);
  const disks = renderTable(
    [
      { title: "DISK", value: (disk) => disk.name },
      { title: "SIZE", value: (disk) => formatBytes(disk.size), align: "right" },
      { title: "BYTES", value: (disk) => disk.size, align: "right" },
      { title: "SECTORS", value: (disk) => `${disk.logicalSector}/${disk.physicalSector}`, align: "right" },
    ],
    point.disks,
  );
  return `${fields}${point.reasons.map((reason) => `  ${reason}\n`).join("")}\n${disks}`;
}

const hurtLine = ({ point, name, disk, extents }: HurtDisk): string => {
  const shown = extents.slice(0, 8).map(({ offset, length }) => `${offset}+${length}`);
  const more = extents.length > shown.length ? ` and ${extents.length - shown.length} more` : "";
  return `  ${shortId(point)} (${name}) disk ${disk} at ${shown.join(", ")}${more}\n`;
};

export function verifyTable(result: VerifyResult): string {
  const fields = renderFields([
    ["read", `${formatBytes(result.bytes)} in ${result.packs} packs`],
    ["whole points", `${result.whole.length} of ${result.points}`],
  ]);
  const damage = result.damage.map(({ object, problem }) => `  ${object}: ${problem}\n`).join("");
  const lost = result.lostPoints.map((id) => `  ${shortId(id)}: the point itself\n`).join("");
  const hurt = result.hurt.map(hurtLine).join("");
  return [fields, damage && `damage:\n${damage}`, hurt || lost ? `hurt:\n${hurt}${lost}` : ""].join("");
}

export function slotsTable(slots: readonly SlotInfo[]): string {
  return renderTable(
    [
      { title: "SLOT", value: (slot) => slot.id },
      { title: "KIND", value: (slot) => slot.kind },
      { title: "LABEL", value: (slot) => slot.label },
      { title: "CREATED", value: (slot) => slot.created },
      { title: "OPENS", value: (slot) => (slot.epoch === 0 ? "nothing" : `up to epoch ${slot.epoch}`) },
      { title: "MADE BY", value: (slot) => (slot.vouched ? "an owner of the key" : "nobody who can prove it") },
    ],
    slots,
  );
}
