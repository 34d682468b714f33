import type { DrainPlan } from "@godwit/api";
import { InvalidArgumentError, type Command } from "commander";
import { print } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { finishJob } from "../jobs.ts";
import { renderTable } from "../output/table.ts";
import { formatBytes, formatDuration } from "../output/units.ts";
import { type AddCommands, type JobFlags, jobOptions, nameList, type WithContext } from "./command.ts";

/** A drain plan as people read it: the moves in order, what cannot move and what to do, the room on the others. */
export function drainPlanTable(plan: DrainPlan): string {
  const moves = plan.entries.filter(({ verdict }) => verdict === "move");
  const rest = plan.entries.filter(({ verdict }) => verdict !== "move");
  const table = renderTable(
    [
      { title: "ORDER", value: (row) => row.order, align: "right" },
      { title: "VM", value: (row) => row.vm },
      { title: "TO", value: (row) => row.destination },
      { title: "KIND", value: (row) => (row.storagePool === undefined ? row.kind : `${row.kind}, into ${row.storagePool}`) },
      { title: "NETWORK", value: (row) => row.network },
      { title: "STARTS", value: (row) => formatDuration(row.startsAtMs ?? 0), align: "right" },
      { title: "TAKES", value: (row) => formatDuration(row.predictedMs ?? 0), align: "right" },
      { title: "PAUSE", value: (row) => row.predictedPauseMs && formatDuration(row.predictedPauseMs), align: "right" },
      { title: "WHY", value: (row) => row.reason.text },
    ],
    moves,
  );
  const others = rest.map(({ vm, verdict, reason, choice }) =>
    verdict === "stay" ? `${vm} stays: ${reason.text}\n` : `${vm} CANNOT MOVE: ${reason.text}\n  → ${choice ?? ""}\n`,
  );
  const advice = plan.entries.flatMap(({ vm, advice }) => (advice ?? []).map((text) => `${vm}: ${text}\n`));
  const room = plan.room.map(
    ({ host, freeBefore, freeAfter, arriving }) =>
      `${host}: ${arriving} arrive, room ${formatBytes(Math.max(0, freeBefore))} → ${formatBytes(Math.max(0, freeAfter))}\n`,
  );
  const verdict = plan.possible ? "can be emptied" : "CANNOT be emptied as it is";
  return [
    `${plan.host} ${verdict}: ${moves.length} of ${plan.entries.length} VMs move, ${plan.concurrency} at a time, in about ${formatDuration(plan.predictedMs)}\n\n`,
    moves.length > 0 ? `${table}\n` : "",
    ...others,
    ...advice,
    ...room,
  ].join("");
}

interface DrainFlags extends JobFlags {
  readonly to?: string[];
  readonly partial: boolean;
  readonly waitForCapture?: boolean;
  readonly dryRun: boolean;
}

function addDrain(host: Command, withContext: WithContext): void {
  const drain = host
    .command("drain <host>")
    .description("move every VM off a host, and let none land on it (Suspend-ClusterNode -Drain)")
    .option("--to <hosts>", "only to these hosts", nameList)
    .option("--partial", "move what can move even when something cannot", false)
    .option("--wait-for-capture", "let captures that run end first, instead of parking them")
    .option("--dry-run", "only say what would happen to every VM", false);
  jobOptions(drain).action((name: string, flags: DrainFlags) =>
    withContext(async (context) => {
      const { idempotencyKey, partial, waitForCapture, to } = flags;
      const [params, body] = [{ host: name }, { partial, ...(waitForCapture && { waitForCapture }), ...(to && { to }) }];
      if (flags.dryRun) {
        const plan = await context.client.call("hostDrainPlan", { params, body, signal: context.signal });
        print(context, plan, drainPlanTable);
        if (!plan.possible) throw new CliError(exitCode.refused, `${plan.host} cannot be emptied as things are`);
        return;
      }
      await finishJob(context, await context.client.call("hostDrain", { params, body, idempotencyKey, signal: context.signal }), flags);
    }),
  );
}

const failbacks = ["now", "policy", "none"] as const;
type Failback = (typeof failbacks)[number];

function failback(text: string): Failback {
  const found = failbacks.find((one) => one === text);
  if (!found) throw new InvalidArgumentError(`one of ${failbacks.join(", ")} is needed.`);
  return found;
}

function addResume(host: Command, withContext: WithContext): void {
  const resume = host
    .command("resume <host>")
    .description("end a host's maintenance (Resume-ClusterNode)")
    .option(
      "--failback <when>",
      "now brings back exactly what was moved away, policy only what the rules would rather have there, none leaves it",
      failback,
      "none",
    );
  jobOptions(resume).action((name: string, flags: JobFlags & { failback: Failback }) =>
    withContext(async (context) => {
      const { idempotencyKey } = flags;
      const [params, body] = [{ host: name }, { failback: flags.failback }];
      await finishJob(context, await context.client.call("hostResume", { params, body, idempotencyKey, signal: context.signal }), flags);
    }),
  );
}

/** Adds its verbs to the noun `host`, which must be there already. */
export const addMaintenanceCommands: AddCommands = (program, withContext) => {
  const host = program.commands.find((command) => command.name() === "host") ?? program.command("host");
  addDrain(host, withContext);
  addResume(host, withContext);
};
