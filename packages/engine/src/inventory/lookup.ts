import { EngineError } from "../model/errors.ts";
import type { HostRecord } from "../model/host.ts";
import type { VmView } from "../model/vm.ts";

/** The host that an id or a name stands for. */
export function findHost<T extends { readonly record: HostRecord }>(ref: string, hosts: readonly T[]): T {
  const found = hosts.find(({ record }) => record.id === ref.toLowerCase()) ?? hosts.find(({ record }) => record.name === ref);
  if (found) return found;
  const names = hosts.map(({ record }) => record.name).sort();
  const known = names.length > 0 ? `; there are ${names.join(", ")}` : "; add one with: godwit host add";
  throw new EngineError("not-found", `there is no host ${ref}${known}`, { host: ref });
}

/** The VM that an id, a name or `host/name` stands for, among what is seen now. */
export function findVm(ref: string, views: readonly VmView[]): VmView {
  const plain = views.filter((view) => view.id === ref.toLowerCase());
  const matches = plain.length > 0 ? plain : views.filter((view) => view.name === ref);
  const found =
    matches.length > 0 ? matches : views.filter((view) => ref === `${view.host}/${view.name}` || ref === `${view.host}/${view.id}`);
  const [only, second] = found;
  if (!only) throw new EngineError("not-found", `there is no VM ${ref}; see: godwit vm list`, { vm: ref });
  if (!second) return only;
  const candidates = found.map((view) => `${view.host}/${view.name}`).sort();
  const why = found.every((view) => view.id === only.id) ? "runs on several hosts at once" : "is the name of several VMs";
  throw new EngineError("ambiguous", `${ref} ${why}: say which of ${candidates.join(", ")}`, { vm: ref, candidates });
}
