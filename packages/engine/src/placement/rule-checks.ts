import type { Check } from "../model/reason.ts";
import type { Board, Seat } from "./board.ts";
import { ruleReasons } from "./judge.ts";
import type { SiteVm } from "./model.ts";
import type { MoveKind } from "./rules.ts";

/** The site's own rules on one move, as checks of its preflight: one for each that it breaks or doubts, or one that passes. */
export function ruleChecks(
  vm: SiteVm,
  { seat, board, kind }: { readonly seat: Seat; readonly board: Board; readonly kind: MoveKind },
): Check[] {
  const broken = [...ruleReasons(vm, seat, board).map(({ code, text, change }) => fail(code, text, change)), ...workload(vm, kind)];
  if (broken.length > 0) return broken;
  if (lacksGenerationId(vm)) return [generationId(vm, kind)];
  return [{ id: "rules", verdict: "pass", text: `${seat.host.name} takes VMs, and no rule of the site keeps ${vm.name} away from it` }];
}

function workload({ policy, name }: SiteVm, kind: MoveKind): Check[] {
  return policy.profiles
    .filter(({ allowedKinds }) => !allowedKinds.includes(kind))
    .map(({ title, allowedKinds }) =>
      fail("workload", `${name} (${title}) does not bear a ${kind} migration`, `choose one of: ${allowedKinds.join(", ")}`),
    );
}

/** Whether one of its profiles needs a VM-Generation-ID, and it is known to have none. */
export function lacksGenerationId({ policy, generationId }: Pick<SiteVm, "policy" | "generationId">): boolean {
  return generationId === false && policy.profiles.some((profile) => profile.vmGenerationId === "needed");
}

/** No reason against a live move, which does not change the id; but a later restore or copy would go unnoticed. */
function generationId({ policy, name }: SiteVm, kind: MoveKind): Check {
  const title = policy.profiles.find((profile) => profile.vmGenerationId === "needed")?.title ?? "";
  if (kind === "cold") return { id: "workload", verdict: "pass", text: `${name} (${title}) is given a VM-Generation-ID on the way` };
  const text = `${name} (${title}) has no VM-Generation-ID: it would not notice a restore or a copy`;
  return { id: "workload", verdict: "warn", text, remedy: `give it one, and start it anew: godwit vm add-generation-id ${name}` };
}

function fail(id: string, text: string, remedy: string): Check {
  return { id, verdict: "fail", text, remedy };
}
