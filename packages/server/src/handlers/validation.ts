import type { Handlers } from "../http/contract.ts";
import type { Services } from "../services.ts";

type Names = "cpuBaseline" | "vmCompare" | "clusterValidate";

export function validationHandlers({ validation }: Services): Pick<Handlers, Names> {
  return {
    cpuBaseline: ({ signal }) => validation.baseline({ signal }),
    vmCompare: ({ params, body, signal }) => validation.compare(params.vm, { to: body.to, signal }),
    clusterValidate: ({ signal }) => validation.validate({ signal }),
  };
}
