import type { Handlers } from "../http/contract.ts";
import type { Services } from "../services.ts";
import { jobView } from "./views.ts";

type Names = "cpuBaseline" | "vmCompare" | "clusterTryMigrations" | "clusterValidate";

export function validationHandlers({ validation, jobs }: Services): Pick<Handlers, Names> {
  return {
    cpuBaseline: ({ signal }) => validation.baseline({ signal }),
    vmCompare: ({ params, body, signal }) => validation.compare(params.vm, { to: body.to, signal }),
    clusterTryMigrations: async ({ idempotencyKey }) =>
      jobView(await jobs.submit("cluster.try-migrations", validation.trialsInput(), { idempotencyKey })),
    clusterValidate: ({ body, signal }) => validation.validate({ signal, trials: body.trials }),
  };
}
