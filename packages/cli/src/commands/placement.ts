import type { BalancePlan, Placement, PlacementView } from "@godwit/api";
import type { Command } from "commander";
import { print } from "../context.ts";
import { CliError, exitCode } from "../exit.ts";
import { finishJob } from "../jobs.ts";
import { renderFields, renderTable } from "../output/table.ts";
import { type AddCommands, integer, type JobFlags, jobOptions, nameList, type WithContext } from "./command.ts";

function placementTable(placement: Placement): string {
  const copied = placement.storagePool === undefined ? "" : `, its disks into '${placement.storagePool}'`;
  const head = placement.host === undefined ? `no host takes ${placement.vm}` : `${placement.vm} → ${placement.host}${copied}`;
  const table = renderTable(
    [
      { title: "RANK", value: (row) => row.rank, align: "right" },
      { title: "HOST", value: (row) => row.host },
      { title: "VERDICT", value: (row) => row.verdict },
      { title: "WHY", value: (row) => row.reasons.map(({ text }) => text).join("; ") },
      { title: "WHAT WOULD HAVE TO CHANGE", value: (row) => row.changes.join("; ") },
    ],
    placement.hosts,
  );
  return `${head}: ${placement.reason.text}\n\n${table}`;
}

function settingsTable({ sites, tags, rules, profiles, builtInProfiles }: PlacementView): string {
  const rows = renderTable(
    [
      { title: "RULE", value: (rule) => rule.name },
      {
        title: "VMS",
        value: ({ vms }) =>
          [...(vms.names ?? []), ...(vms.tags ?? []).map((tag) => `tag ${tag}`), vms.where ? "where…" : ""].filter(Boolean).join(", "),
      },
      {
        title: "SAYS",
        value: ({ name: _name, vms: _vms, ...says }) =>
          Object.entries(says)
            .map(([key, value]) => `${key}: ${Array.isArray(value) ? value.join(", ") : value}`)
            .join("; "),
      },
    ],
    rules,
  );
  const profileRows = renderTable(
    [
      { title: "PROFILE", value: (profile) => profile.name },
      { title: "BY TAG", value: (profile) => profile.tags.join(", ") },
      { title: "MOVES", value: (profile) => profile.allowedKinds.join(", ") },
      { title: "SAVED STATE", value: (profile) => profile.savedState },
      { title: "SOURCE", value: (profile) => profile.source },
    ],
    [...profiles, ...builtInProfiles.filter(({ name }) => !profiles.some((own) => own.name === name))],
  );
  const fields = renderFields([
    [
      "sites",
      Object.entries(sites)
        .map(([host, site]) => `${host} in ${site}`)
        .join(", ") || "none",
    ],
    ["tags", tags.map((entry) => `${entry.tags.join("+")} on ${entry.vms.join(", ")}`).join("; ") || "none"],
  ]);
  return `${fields}\n${rows}\n${profileRows}`;
}

function balanceTable(plan: BalancePlan): string {
  const percent = (fraction: number): string => `${Math.round(fraction * 100)} %`;
  const moves = renderTable(
    [
      { title: "VM", value: (row) => row.vm },
      { title: "FROM", value: (row) => row.source },
      { title: "TO", value: (row) => row.destination },
      { title: "NETWORK", value: (row) => row.network },
      { title: "WHY", value: (row) => row.reason },
    ],
    plan.moves,
  );
  const loads = renderTable(
    [
      { title: "HOST", value: (row) => row.host },
      { title: "NOW", value: (row) => percent(row.before), align: "right" },
      { title: "AFTER", value: (row) => percent(row.after), align: "right" },
    ],
    plan.loads,
  );
  return `${plan.moves.length > 0 ? `${moves}\n` : ""}${loads}\n${plan.reason}\n`;
}

function addBalance(cluster: Command, withContext: WithContext): void {
  const balance = cluster
    .command("balance")
    .description("relieve hosts that are too full, with as few moves as it takes")
    .option("--above <percent>", "relieve hosts whose memory is fuller than this", integer, 80)
    .option("--dry-run", "only say what would move", false);
  jobOptions(balance).action((flags: JobFlags & { above: number; dryRun: boolean }) =>
    withContext(async (context) => {
      const body = { actAbovePercent: flags.above };
      const { idempotencyKey } = flags;
      if (flags.dryRun)
        return print(context, await context.client.call("clusterBalancePlan", { body, signal: context.signal }), balanceTable);
      await finishJob(context, await context.client.call("clusterBalance", { body, idempotencyKey, signal: context.signal }), flags);
    }),
  );
}

export const addPlacementCommands: AddCommands = (program, withContext) => {
  const placement = program.command("placement").description("which hosts VMs may and should run on");
  placement
    .command("show")
    .description("show rules, tags, sites and workload profiles ('godwit apply' sets them)")
    .action(() =>
      withContext(async (context) => print(context, await context.client.call("placementGet", { signal: context.signal }), settingsTable)),
    );
  placement
    .command("explain <vm>")
    .description("which host would take a VM, why, and why every other would not")
    .option("--to <hosts>", "only among these hosts", nameList)
    .action((vm: string, flags: { to?: string[] }) =>
      withContext(async (context) => {
        const found = await context.client.call("vmPlacement", { params: { vm }, body: flags, signal: context.signal });
        print(context, found, placementTable);
        if (found.host === undefined) throw new CliError(exitCode.refused, `no host takes ${found.vm} as things are`);
      }),
    );
  addBalance(program.command("cluster").description("the cluster as a whole"), withContext);
};
