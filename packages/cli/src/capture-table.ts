import type { CaptureResult, FilesCaptured, FilesRecovered } from "@godwit/api";
import { type Column, renderFields, renderTable } from "./output/table.ts";
import { formatBytes, formatDuration } from "./output/units.ts";

type Captured = Extract<CaptureResult, { outcome: "captured" }>;

const diskColumns: readonly Column<Captured["disks"][number]>[] = [
  { title: "DISK", value: (disk) => disk.target },
  { title: "SIZE", value: (disk) => formatBytes(disk.sizeBytes), align: "right" },
  { title: "READ", value: (disk) => formatBytes(disk.readBytes), align: "right" },
  { title: "HOW", value: (disk) => disk.mode },
  { title: "WHY", value: (disk) => disk.reason.text },
];

function guestWrites({ writeBeforeMs, writeMs, slowedTo }: Captured["guest"]): string | undefined {
  if (writeMs === undefined) return undefined;
  const before = writeBeforeMs === undefined ? "" : ` (${writeBeforeMs} ms before)`;
  const slowed = slowedTo === undefined ? "" : `; the reading was slowed to ${formatBytes(slowedTo)}/s for that`;
  return `${writeMs} ms each${before}${slowed}`;
}

/** The proof: what the host's interface on the chosen network sent, or the busiest one. */
export function carried({ route, interfaces = [] }: Pick<Captured, "route" | "interfaces">): string | undefined {
  const chosen = interfaces.find(({ networkId }) => networkId === route?.networkId) ?? interfaces[0];
  if (!chosen) return undefined;
  const others = interfaces.filter((one) => one !== chosen).map((one) => one.sentBytes + one.receivedBytes);
  const rest = others.length > 0 ? `; its others together ${formatBytes(others.reduce((sum, bytes) => sum + bytes, 0))}` : "";
  return `${chosen.host} ${chosen.interface} sent ${formatBytes(chosen.sentBytes)} and received ${formatBytes(chosen.receivedBytes)}${rest}`;
}

function checkText(check: NonNullable<Captured["check"]>): string {
  const sum = (of: (disk: (typeof check)[number]) => number | undefined): number =>
    check.reduce((total, disk) => total + (of(disk) ?? 0), 0);
  const unexpected = sum(({ unexpectedBytes }) => unexpectedBytes);
  const differing = `${formatBytes(sum(({ differingBytes }) => differingBytes))} differ from the last point`;
  return unexpected === 0 ? differing : `${differing}, of which ${formatBytes(unexpected)} were not listed as changed and are repaired`;
}

/** What a capture read, stored and why. */
export function captureTable(result: CaptureResult): string {
  if (result.outcome === "parked") {
    return `${result.vm}: parked for job ${result.for.id} (${result.for.title}); job ${result.continuedBy} goes on after it\n`;
  }
  const fields = renderFields([
    ["VM", `${result.vm} on ${result.host}`],
    ["point", `${result.pointId.slice(0, 12)} in ${result.vault}, as of ${result.at}`],
    ["consistency", `${result.consistency}: ${result.evidence.join("; ")}`],
    ["frozen", result.frozenMs > 0 ? formatDuration(result.frozenMs) : undefined],
    ["read", formatBytes(result.readBytes)],
    ["by", result.route?.reason.text],
    ["carried", carried(result)],
    ["stored", `${formatBytes(result.storedBytes)} (${result.newChunks} new chunks)`],
    ["check", result.check && checkText(result.check)],
    ["guest's writes", guestWrites(result.guest)],
    ["time", formatDuration(result.totalMs)],
  ]);
  return `${fields}\n${renderTable(diskColumns, result.disks)}`;
}

/** What of a guest's files was kept. */
export function filesTable(files: FilesCaptured): string {
  return renderFields([
    ["VM", `${files.vm} on ${files.host}`],
    ["files", files.paths.join(", ")],
    ["point", `${files.pointId.slice(0, 12)} (${files.vm}:${files.set}) in ${files.vault}`],
    ["read", formatBytes(files.readBytes)],
    ["stored", formatBytes(files.storedBytes)],
    ["warnings", files.warnings.length > 0 ? files.warnings.join("; ") : undefined],
    ["time", formatDuration(files.totalMs)],
  ]);
}

/** What was brought back into a guest. */
export function unpackedTable(files: FilesRecovered): string {
  return renderFields([
    ["VM", files.vm],
    ["into", files.into],
    ["point", `${files.pointId.slice(0, 12)} of ${files.vault}, as of ${files.at}`],
    ["sent", formatBytes(files.bytes)],
    ["time", formatDuration(files.totalMs)],
  ]);
}
