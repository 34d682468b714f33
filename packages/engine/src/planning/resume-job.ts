import type { JsonObject } from "@godwit/core";
import type { JobContext, JobKind } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { MovedVm } from "../model/maintenance.ts";
import type { Check } from "../model/reason.ts";
import { place } from "../placement/place.ts";
import type { Drains } from "./drains.ts";
import { migrationInput } from "./migration-input.ts";
import { type MoveOutcome, type MovesResult, runMoves, type WantedMove } from "./moves.ts";
import { compareUrgency } from "./pack.ts";

export interface HostResumeInput extends JsonObject {
  readonly hostId: string;
  readonly host: string;
  /** `now` brings back exactly what was moved away, `policy` those of them that the rules would rather have there. */
  readonly failback: "now" | "policy" | "none";
}

type Context = JobContext<HostResumeInput>;

/** One VM that a drain took away, as it is now. What is `left` is no longer waited for; nobody knows of a `later` one. */
type Return =
  | { readonly move: WantedMove }
  | { readonly vmId: string; readonly vm: string; readonly left: string }
  | { readonly later: MoveOutcome };

/**
 * The job that ends a host's maintenance. VMs land there again from its start; then what a drain moved away
 * comes back. What could not come back stays known, so that resuming again goes on with it.
 */
export function hostResumeKind(drains: Drains): JobKind<HostResumeInput> {
  return {
    kind: "host.resume",
    title: ({ host, failback }) => `Resume ${host}${failback === "none" ? "" : `, failback ${failback}`}`,
    subject: ({ hostId, host }) => ({ type: "host", id: hostId, name: host }),
    locks: ({ hostId }) => [`host:${hostId}`],
    slots: () => [],
    run: (context) => resume(drains, context),
  };
}

async function resume(drains: Drains, context: Context): Promise<MovesResult> {
  const { input, signal, id } = context;
  const { maintenance } = drains.placements.options;
  const { clock } = drains.options;
  const begun = await context.step("open", async () => {
    signal.throwIfAborted();
    const record = maintenance.get(input.hostId);
    if (!record) throw new EngineError("conflict", `${input.host} is not in maintenance`, { host: input.host });
    const returning = input.failback === "now" ? record.moved.map(({ vmId }) => vmId) : undefined;
    const reason = { code: "resumed", text: `job ${id} resumed it` };
    await maintenance.enter(input.hostId, { state: "open", reason, jobId: id, ...(returning && { returning }) });
    return { moved: record.moved, startedAt: clock.now() };
  });
  const returns = input.failback === "none" ? [] : await context.step("plan", () => plan(drains, input, begun.moved));
  const left = returns.flatMap((one) => ("left" in one ? [one] : []));
  const later = returns.flatMap((one) => ("later" in one ? [one.later] : []));
  for (const { vmId, vm, left: text } of left) {
    context.log("info", `${vm} does not come back: ${text}`);
    await maintenance.forgetMoved(input.hostId, vmId);
  }
  const moves = await runMoves(
    context,
    returns.flatMap((one) => ("move" in one ? [one.move] : [])),
    {
      jobs: drains.options.jobs(),
      clock,
      concurrency: await drains.limit(input.hostId),
      batch: "back",
      ended: (outcome) => (outcome.outcome === "moved" ? maintenance.forgetMoved(input.hostId, outcome.vmId) : Promise.resolve()),
    },
  );
  throwIncomplete(input, [...moves, ...later]);
  await maintenance.leave(input.hostId);
  return {
    host: input.host,
    moves,
    left: left.map(({ vm, left }) => ({ vm, reason: left })),
    totalMs: Math.max(0, clock.now() - begun.startedAt),
  };
}

async function plan(drains: Drains, input: HostResumeInput, moved: readonly MovedVm[]): Promise<Return[]> {
  const { hosts } = drains.placements.options;
  const site = await drains.placements.site([...new Set(hosts.vms().map(({ hostId }) => hostId))]);
  const policies = new Map(site.vms.map((vm) => [vm.id, vm]));
  const inOrder = moved.toSorted((a, b) => {
    const [left, right] = [policies.get(a.vmId), policies.get(b.vmId)];
    return left && right ? compareUrgency(left, right) : 0;
  });
  return inOrder.map((one): Return => {
    const { vmId, vm: name, storagePool } = one;
    const vm = policies.get(vmId);
    const left = (text: string): Return => ({ vmId, vm: name, left: text });
    if (!vm) return left("it is not there any more");
    if (vm.hostId === input.hostId) return left(`it is on ${input.host} already`);
    const source = site.hosts.find(({ id }) => id === vm.hostId)?.name ?? vm.hostId;
    if (vm.state === "unknown") return { later: unknown(input, one, source) };
    if (vm.state !== "running") return left(`it is ${vm.state}`);
    if (input.failback === "policy") {
      const { hostId, host, reason } = place(vm, site, { mayStay: true });
      if (hostId !== input.hostId) return left(host === undefined ? reason.text : `the rules would rather have it on ${host}`);
    }
    const { hostId: destinationId, host: destination } = input;
    const { maximumPauseMs, pausePolicy } = vm.policy;
    const wanted = migrationInput({
      vmId,
      vm: vm.name,
      sourceId: vm.hostId,
      source,
      destinationId,
      destination,
      storagePool,
      maximumPauseMs,
      pausePolicy,
    });
    return { move: { vmId, vm: vm.name, destinationId, destination, input: wanted } };
  });
}

function unknown({ hostId, host }: HostResumeInput, { vmId, vm }: MovedVm, at: string): MoveOutcome {
  const error = { kind: "host-lost", message: `nobody knows how it is: ${at}, where it was, does not answer` };
  return { vmId, vm, destinationId: hostId, destination: host, outcome: "failed", error };
}

function throwIncomplete({ host }: HostResumeInput, moves: readonly MoveOutcome[]): void {
  const failed = moves.filter(({ outcome }) => outcome !== "moved");
  if (failed.length === 0) return;
  const checks = failed.map(({ vm, error }): Check => ({
    id: vm,
    verdict: "fail",
    text: error?.message ?? "cancelled",
    remedy: `mend it, then again: godwit host resume ${host} --failback now`,
  }));
  const names = failed.map(({ vm }) => vm).join(", ");
  throw new EngineError("hypervisor", `${host} takes VMs again, but ${failed.length} did not come back: ${names}`, { host }, { checks });
}
