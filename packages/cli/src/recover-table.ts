import type { ConfirmResult, RecoverResult } from "@godwit/api";
import { carried } from "./capture-table.ts";
import { renderFields, renderTable } from "./output/table.ts";
import { formatBytes, formatDuration } from "./output/units.ts";

/** What a recovery wrote, and where. */
export function recoverTable(result: RecoverResult): string {
  const what = { new: "a new VM", replace: "in place of the old one", "in-place": "into its images", disk: "images only" }[result.mode];
  const fields = renderFields([
    ["VM", result.mode === "disk" ? undefined : `${result.vm} on ${result.host}, ${what}${result.started ? ", started" : ", not started"}`],
    ["point", `${result.pointId.slice(0, 12)} of ${result.vault}, as of ${result.at}`],
    ["by", result.route?.reason.text],
    ["carried", carried(result)],
    ["kept aside", result.keptAside.length > 0 ? result.keptAside.join(", ") : undefined],
    ["next capture", result.tracking.text],
    ["time", formatDuration(result.totalMs)],
  ]);
  const disks = renderTable(
    [
      { title: "DISK", value: (disk) => disk.target },
      { title: "SIZE", value: (disk) => formatBytes(disk.sizeBytes), align: "right" },
      { title: "WRITTEN", value: (disk) => formatBytes(disk.writtenBytes), align: "right" },
      { title: "IMAGE", value: (disk) => disk.path },
    ],
    result.disks,
  );
  return `${fields}\n${disks}`;
}

/** What was removed of a VM's old images. */
export function confirmTable({ vm, removed, left }: ConfirmResult): string {
  const stays = left.map(({ path, reason }) => `${path} stays: ${reason}\n`).join("");
  return `${vm}: ${removed.length === 0 ? "no old image was removed" : `removed ${removed.join(", ")}`}\n${stays}`;
}
