import { describeError } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostMigration } from "../ports/migration.ts";
import type { MemoryFile, MigrationInput } from "./model.ts";
import { type OfflineStage, settleOffline, type OfflineVerdict } from "./offline-truth.ts";
import type { Migrations } from "./service.ts";
import { seeVm, type SettleOptions } from "./settle.ts";

/** Where the VM was found to be, once nothing is left to clean up. `lost`: its memory could not be brought back. */
export interface OfflineSettled {
  readonly at: "source" | "destination" | "gone";
  readonly text: string;
  readonly memoryLost?: boolean;
  /** It ran, or ended, without its saved memory, which is of no use any more. */
  readonly memoryStale?: boolean;
}

export interface OfflineSettleOptions extends SettleOptions {
  readonly memory: MemoryFile | undefined;
  /** Ends what carried files on its behalf, on the hosts that are connected; true while something may be left of it. */
  clear(sides: Sides): Promise<boolean>;
  /** The stage on record. */
  stage(): OfflineStage;
  /** Puts a stage on record; resolves when that is durable. */
  reach(stage: OfflineStage): Promise<void>;
}

const lookAgainMs = 500;
const maximumActs = 20;
/** A file that libvirt refuses so often is not one that it could restore. */
const maximumRestores = 3;

/** {@link findAndSettle} for a VM that stood still while it was moved. Safe to run twice. */
export async function settleStandstill(
  migrations: Migrations,
  input: MigrationInput,
  options: OfflineSettleOptions,
): Promise<OfflineSettled> {
  const { clock } = migrations.options;
  const giveUpAt = clock.monotonic() + options.patienceMs;
  const kind = input.kind === "cold" ? "cold" : "quick";
  let [acts, restores, said] = [0, 0, ""];
  for (;;) {
    const [source, destination] = await Promise.all([
      seeVm(migrations, input.sourceId, input, options.signal),
      seeVm(migrations, input.destinationId, input, options.signal),
    ]);
    const sides = { source: source.migration, destination: destination.migration };
    const verdict: OfflineVerdict = (await options.clear(sides))
      ? { act: "wait", text: "a host does not say whether the guest that carried its files has ended" }
      : settleOffline({ kind, stage: options.stage(), source: source.sighting, destination: destination.sighting });
    const text = `${input.vm}: ${verdict.text} (source: ${input.source}, destination: ${input.destination})`;
    if (text !== said) options.log(text);
    said = text;
    if (verdict.act === "conflict") throw new EngineError("conflict", `${text}; nothing was touched, look at both hosts`, { vm: input.vm });
    const end = ended(verdict);
    if (end) return end;
    if (verdict.act === "restore-source" && restores >= maximumRestores) return memoryLost(input, options.memory);
    if (clock.monotonic() > giveUpAt || acts >= maximumActs) {
      throw new EngineError(
        "host-lost",
        `${text}; gave up asking. Once both hosts answer, 'godwit vm show ${input.vm}' tells where it is`,
        {
          vm: input.vm,
        },
      );
    }
    if (verdict.act !== "wait") acts += 1;
    if (verdict.act === "restore-source") restores += 1;
    await act(verdict, input, sides, options);
    if (verdict.act === "wait" || acts > 2) await clock.sleep(lookAgainMs, { signal: options.signal });
  }
}

function ended({ act, text, memoryStale = false }: OfflineVerdict): OfflineSettled | undefined {
  if (act === "on-source") return { at: "source", text, memoryStale };
  if (act === "on-destination") return { at: "destination", text };
  return act === "gone" ? { at: "gone", text } : undefined;
}

function memoryLost({ vm, source }: MigrationInput, memory: MemoryFile | undefined): OfflineSettled {
  const kept = memory === undefined ? "" : `; what there is of it stays in ${memory.path}`;
  return { at: "source", memoryLost: true, text: `${vm} is off on ${source}, and its saved memory cannot be restored${kept}` };
}

export interface Sides {
  readonly source: HostMigration | undefined;
  readonly destination: HostMigration | undefined;
}

async function act({ act: what }: OfflineVerdict, { vmId }: MigrationInput, sides: Sides, options: OfflineSettleOptions): Promise<void> {
  const { signal, memory } = options;
  const asked = { signal };
  try {
    if (what === "restore-source" && memory) await sides.source?.restore(memory.path, { disks: [], networks: {} }, asked);
    else if (what === "resume-source") {
      await options.reach("returning");
      await sides.source?.resume(vmId, asked);
    } else if (what === "resume-destination") await sides.destination?.resume(vmId, asked);
    else if (what === "discard-destination") await sides.destination?.discard(vmId, asked);
    else if (what === "undefine-destination") await sides.destination?.undefine(vmId, asked);
    else if (what === "release-source") await sides.source?.release(vmId, asked);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof EngineError && error.kind === "conflict") throw error;
    options.log(`${what} failed: ${describeError(error)}; looking again`);
  }
}
