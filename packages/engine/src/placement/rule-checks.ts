import type { Check } from "../model/reason.ts";
import type { Board, Seat } from "./board.ts";
import { ruleReasons } from "./judge.ts";
import type { SiteVm } from "./model.ts";
import type { MoveKind } from "./rules.ts";

/** The site's own rules on one move, as checks of its preflight: one for each that it breaks, or one that passes. */
export function ruleChecks(
  vm: SiteVm,
  { seat, board, kind }: { readonly seat: Seat; readonly board: Board; readonly kind: MoveKind },
): Check[] {
  const broken = [...ruleReasons(vm, seat, board).map(({ code, text, change }) => fail(code, text, change)), ...workload(vm, kind)];
  if (broken.length > 0) return broken;
  return [{ id: "rules", verdict: "pass", text: `${seat.host.name} takes VMs, and no rule of the site keeps ${vm.name} away from it` }];
}

function workload({ policy, name }: SiteVm, kind: MoveKind): Check[] {
  return policy.profiles
    .filter(({ allowedKinds }) => !allowedKinds.includes(kind))
    .map(({ title, allowedKinds }) =>
      fail("workload", `${name} is a ${title}, which does not bear a ${kind} migration`, `choose one of: ${allowedKinds.join(", ")}`),
    );
}

function fail(id: string, text: string, remedy: string): Check {
  return { id, verdict: "fail", text, remedy };
}
