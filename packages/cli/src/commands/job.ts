import type { Job } from "@godwit/api";
import { print, printList } from "../context.ts";
import { finishJob, jobTable } from "../jobs.ts";
import type { Column } from "../output/table.ts";
import { progressText } from "../progress.ts";
import type { AddCommands } from "./command.ts";

const columns: readonly Column<Job>[] = [
  { title: "ID", value: (job) => job.id },
  { title: "STATE", value: (job) => job.state },
  { title: "WHAT", value: (job) => job.title },
  { title: "CREATED", value: (job) => job.createdAt },
  { title: "NOW", value: (job) => (job.endedAt === undefined ? progressText(job) : (job.error?.detail ?? "")) },
];

const states = ["active", "ended", "queued", "running", "cancelling", "done", "failed", "cancelled"] as const;

export const addJobCommands: AddCommands = (program, withContext) => {
  const job = program.command("job").description("long operations");
  job
    .command("list")
    .description("list jobs, newest first")
    .option("--state <state>", `one of ${states.join(", ")}`)
    .option("--limit <n>", "at most this many", "20")
    .action((flags: { state?: (typeof states)[number]; limit: string }) =>
      withContext(async (context) => {
        const page = await context.client.call("jobList", { query: { limit: flags.limit, state: flags.state }, signal: context.signal });
        printList(context, page.items, columns, "no job yet");
      }),
    );
  job
    .command("show <job>")
    .description("show a job with its steps, reasons, log and result")
    .action((id: string) =>
      withContext(async (context) =>
        print(context, await context.client.call("jobGet", { params: { job: id }, signal: context.signal }), jobTable),
      ),
    );
  job
    .command("watch <job>")
    .description("follow a job to its end; Ctrl-C only stops watching")
    .action((id: string) =>
      withContext(async (context) => {
        const watched = await context.client.call("jobGet", { params: { job: id }, signal: context.signal });
        await finishJob(context, watched, { wait: true, onCancel: "leave" });
      }),
    );
  job
    .command("cancel <job>")
    .description("ask a job to stop")
    .action((id: string) =>
      withContext(async (context) => {
        const cancelled = await context.client.call("jobCancel", { params: { job: id }, signal: context.signal });
        print(context, cancelled, () => `${cancelled.title}: ${cancelled.state}\n`);
      }),
    );
};
