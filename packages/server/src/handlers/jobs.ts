import type { Job } from "@godwit/api";
import type { JobRecord, JobState } from "@godwit/engine";
import type { Answer, Handlers } from "../http/contract.ts";
import type { JobsService, Services } from "../services.ts";
import { jobView } from "./views.ts";

type Names = "jobList" | "jobGet" | "jobWatch" | "jobCancel";

const active = ["queued", "running", "cancelling"] as const;
const ended = ["done", "failed", "cancelled"] as const;

export function jobHandlers({ jobs }: Services): Pick<Handlers, Names> {
  return {
    async jobList({ query: { state, kind, subject, limit, cursor } }) {
      const filter = { ...(state === undefined ? {} : { states: statesOf(state) }), kind, subjectId: subject };
      const records = await jobs.list(filter, { limit: limit + 1, cursor });
      const page = records.slice(0, limit);
      const last = page.at(-1);
      return { items: page.map(jobView), ...(records.length > limit && last ? { next: last.id } : {}) };
    },
    jobGet: async ({ params }) => jobView(await jobs.get(params.job)),
    async jobWatch({ params, signal }) {
      // Asked first, so that an unknown job is an answer of 404 and not a stream that ends at once.
      await jobs.get(params.job);
      return events(jobs, params.job, signal);
    },
    jobCancel: async ({ params }) => jobView(await jobs.cancel(params.job)),
  };
}

function statesOf(state: JobState | "active" | "ended"): readonly JobState[] {
  return state === "active" ? active : state === "ended" ? ended : [state];
}

async function* events(jobs: JobsService, id: string, signal: AbortSignal): AsyncGenerator<{ data: Answer<Job> }, void, undefined> {
  for await (const record of jobs.watch(id, { signal })) yield { data: jobView(record satisfies JobRecord) };
}
