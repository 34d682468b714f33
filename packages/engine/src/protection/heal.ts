import type { Point } from "@godwit/vault";
import type { JobContext } from "../jobs/job.ts";
import type { BackupFacts, HostBackup } from "../ports/backup.ts";
import { checkpointPrefix } from "./names.ts";
import type { CaptureInput, TrackingRecord } from "./model.ts";

export interface HealInput {
  readonly vmId: string;
  readonly vaultId: string;
  readonly hostId: string;
  readonly base?: Point | undefined;
  readonly tracking?: TrackingRecord | undefined;
  /** What the VM is, being asked already. */
  readonly asking: Promise<BackupFacts>;
}

export interface Healed {
  readonly facts: BackupFacts;
  /** The base's checkpoint, when the hypervisor knows it. */
  readonly checkpoint?: string | undefined;
  /** Why it does not. */
  readonly lost?: string | undefined;
}

/**
 * Brings a VM into the state that a capture begins with: an export that a lost server left is ended, checkpoints of
 * ours that lead nowhere are removed, and the one that counts is put back where a move, a new definition or a restart
 * made the hypervisor forget it. Checkpoints of others are left alone.
 */
export async function heal(backup: HostBackup, input: HealInput, context: JobContext<CaptureInput>): Promise<Healed> {
  const { vmId, hostId, vaultId, tracking } = input;
  const { signal } = context;
  let facts = await input.asking;
  if (facts.moment !== undefined) {
    await context.reason({ code: "leftover", text: `an export of an earlier capture (${facts.moment}) was still there and is ended` });
    await backup.end(vmId, { hostId, moment: facts.moment, checkpoint: "" }, { forget: false, signal });
  }
  const prefix = checkpointPrefix(vaultId);
  const strays = facts.checkpoints.filter((name) => name.startsWith(prefix) && name !== tracking?.checkpoint);
  for (const stray of facts.state === "off" ? [] : strays) {
    await context.reason({ code: "stray-checkpoint", text: `the checkpoint ${stray} belongs to no recovery point and is removed` });
    await backup.deleteCheckpoint(vmId, stray, { signal });
  }
  if (facts.moment !== undefined) facts = await backup.facts(vmId, { signal });
  if (!tracking) return { facts, ...(input.base && { lost: "no list of its changes since then was kept" }) };
  if (facts.checkpoints.includes(tracking.checkpoint) || facts.state === "off") return { facts, checkpoint: tracking.checkpoint };
  if (await backup.restoreCheckpoint(vmId, tracking.xml, { signal })) {
    await context.reason({
      code: "checkpoint-restored",
      text: `the hypervisor had forgotten the checkpoint ${tracking.checkpoint}; it was put back`,
    });
    return { facts, checkpoint: tracking.checkpoint };
  }
  await backup.deleteCheckpoint(vmId, tracking.checkpoint, { signal }); // a damaged list is of no use, and stays in the disk for ever
  return {
    facts,
    lost: "the disks have no usable list of changes since then (a crash of the VM or its host, or another copy of the disk)",
  };
}
