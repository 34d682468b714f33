import { randomBytes } from "node:crypto";
import { type Clock, describeError, type JsonObject } from "@godwit/core";
import type { JobRecord } from "../../jobs/job.ts";
import { EngineError } from "../../model/errors.ts";
import type { HostView } from "../../model/host.ts";
import type { VmView } from "../../model/vm.ts";
import type { Collection } from "../../ports/store.ts";
import type { Alerts } from "./alerts.ts";
import { applyEdit, type GroupDraft, type GroupEdit, newGroup } from "./draft.ts";
import { type DueMember, planRuns, type Start, type Wait } from "./due.ts";
import { membersOf, type SelectableVm } from "./members.ts";
import type { MemberRecord, ProtectionGroup } from "./model.ts";
import { type MemberStatus, memberStatus } from "./report.ts";
import { isEnded, withOutcome, withPoint } from "./runs.ts";
import { rateNow } from "./schedule.ts";

/** What groups need of the inventory. */
export interface GroupHosts {
  vms(): readonly VmView[];
  hosts(): readonly HostView[];
}

/** What groups need of the jobs. */
export interface GroupJobs {
  submit(kind: string, input: JsonObject, options: { readonly idempotencyKey: string }): Promise<JobRecord>;
  /** Throws `not-found` for a job that was forgotten. */
  get(id: string): Promise<JobRecord>;
}

export interface GroupVaults {
  /** By name or id; throws `not-found`. */
  find(ref: string): Promise<{ readonly id: string; readonly name: string }>;
}

export interface GroupLog {
  warn(fields: object, text: string): void;
}

export interface ProtectionGroupsOptions {
  readonly groups: Collection<ProtectionGroup>;
  readonly members: Collection<MemberRecord>;
  readonly hosts: GroupHosts;
  readonly jobs: GroupJobs;
  readonly vaults: GroupVaults;
  readonly clock: Clock;
  readonly log: GroupLog;
  /** Captures that the server runs at once; as many as the groups allow when absent. */
  readonly atOnce?: number | undefined;
  /** The tags of VMs as they are now. */
  readonly tags?: () => Promise<(vm: VmView) => readonly string[]>;
  readonly alerts?: Pick<Alerts, "look">;
  /** Called after a run of a member ended well: what its retention lets go may go. */
  readonly retain?: (group: ProtectionGroup, member: MemberRecord) => Promise<void>;
}

/** How long it sleeps at most: what it cannot hear of, such as a clock that was set, is seen by then. */
const longestSleepMs = 60_000;
/** What is remembered of a VM that is on no host any more, every look reads: it is for so long after its last run. */
const keptMs = 90 * 86_400_000;
/** As many captures as an admin may begin by hand, whatever groups say. */
const fewestPerHost = 2;

/** Everything that the admin sees of one group. */
export interface GroupView extends ProtectionGroup {
  readonly vault: string;
  readonly statuses: readonly MemberStatus[];
}

/**
 * Groups of VMs and their schedules. It decides when a capture is due and hands it to the jobs; a capture itself is
 * a job, so that nothing here has to survive a crash but which moments were served.
 */
export class ProtectionGroups {
  readonly #options: ProtectionGroupsOptions;
  #waits: readonly Wait[] = [];
  /** Who is a member, by the last look. */
  #current: ReadonlySet<string> = new Set();
  #byHand: JobRecord[] = [];
  /** Ids of VMs that this server has seen: one that is gone since then is gone for sure. */
  readonly #seen = new Set<string>();
  #wake: (() => void) | undefined;
  #again = false;

  constructor(options: ProtectionGroupsOptions) {
    this.#options = options;
  }

  async list(): Promise<ProtectionGroup[]> {
    return (await this.#options.groups.list()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** By name or id; throws `not-found`. */
  async find(ref: string): Promise<ProtectionGroup> {
    const all = await this.list();
    const found = all.find(({ id, name }) => id === ref || name === ref);
    if (found) return found;
    const names = all.map(({ name }) => name).join(", ");
    throw new EngineError("not-found", `there is no protection group '${ref}'${names === "" ? "" : `: there are ${names}`}`);
  }

  /** Throws `invalid`, `not-found` for the vault, `conflict` for a name that is taken. */
  async create(draft: GroupDraft): Promise<ProtectionGroup> {
    const vault = await this.#options.vaults.find(draft.vault);
    const createdAt = new Date(this.#options.clock.now()).toISOString();
    const group = newGroup(draft, { id: randomBytes(8).toString("hex"), vaultId: vault.id, createdAt });
    await this.#checkName(group);
    await this.#options.groups.put(group.id, group);
    this.nudge();
    return group;
  }

  async edit(ref: string, edit: GroupEdit): Promise<ProtectionGroup> {
    const before = await this.find(ref);
    const vaultId = edit.vault === undefined || edit.vault === null ? before.vaultId : (await this.#options.vaults.find(edit.vault)).id;
    const group = applyEdit(before, edit, vaultId);
    await this.#checkName(group);
    await this.#options.groups.put(group.id, group);
    this.nudge();
    return group;
  }

  /** Makes all of a group as a draft says, by its name. */
  async replace(draft: GroupDraft): Promise<ProtectionGroup> {
    const { id, createdAt } = await this.find(draft.name);
    const vault = await this.#options.vaults.find(draft.vault);
    const group = newGroup(draft, { id, vaultId: vault.id, createdAt });
    await this.#options.groups.put(id, group);
    this.nudge();
    return group;
  }

  /** Protection ends; every point stays in the vault. What is under way goes on. */
  async remove(ref: string): Promise<void> {
    const { id } = await this.find(ref);
    await this.#options.groups.delete(id);
    for (const member of await this.#options.members.list()) if (member.groupId === id) await this.#options.members.delete(keyOf(member));
    this.nudge();
  }

  async view(ref: string): Promise<GroupView> {
    return await this.#view(await this.find(ref), await this.status());
  }

  /** Every group with its members, by name. */
  async views(): Promise<GroupView[]> {
    const statuses = await this.status();
    return await Promise.all((await this.list()).map((group) => this.#view(group, statuses)));
  }

  async #view(group: ProtectionGroup, statuses: readonly MemberStatus[]): Promise<GroupView> {
    const found = await this.#options.vaults.find(group.vaultId).catch(forgotten);
    const vault = found?.name ?? `${group.vaultId} (no longer registered)`;
    return { ...group, vault, statuses: statuses.filter(({ groupId }) => groupId === group.id) };
  }

  /** Every member of every group: how it stands, and why it waits if it is due. */
  async status(): Promise<MemberStatus[]> {
    const groups = new Map((await this.list()).map((group) => [group.id, group]));
    const now = this.#options.clock.now();
    const records = (await this.#options.members.list()).filter((record) => this.#current.has(keyOf(record)));
    return records
      .flatMap((record) => {
        const group = groups.get(record.groupId);
        if (!group) return [];
        const status = memberStatus(group, record, { now });
        const wait = this.#waits.find(({ member }) => member.record.groupId === record.groupId && member.record.vmId === record.vmId);
        return [
          wait && status.state !== "late"
            ? { ...status, reason: { code: wait.reason.code, text: `due, but ${wait.reason.text}` } }
            : status,
        ];
      })
      .toSorted((a, b) => `${a.group}\0${a.vm}`.localeCompare(`${b.group}\0${b.vm}`));
  }

  /** What is remembered of a group's members. */
  async records(groupId: string): Promise<MemberRecord[]> {
    return (await this.#options.members.list()).filter((record) => record.groupId === groupId && this.#current.has(keyOf(record)));
  }

  /** Bytes a second that captures of a group may read together now; undefined: as fast as it goes. */
  async bandwidth(groupId: string): Promise<number | undefined> {
    const group = await this.#options.groups.get(groupId);
    return group?.bandwidth && rateNow(group.bandwidth, group.schedule.timeZone, this.#options.clock.now());
  }

  /** Captures of one host at once that some group allows: each keeps to its own limit, and counts those of the others. */
  async perHost(): Promise<number> {
    return Math.max(fewestPerHost, ...(await this.list()).map(({ limits: { perHost = Infinity } }) => perHost));
  }

  /** Throws `conflict` while groups capture into a vault. */
  async needsNot({ id, name }: { readonly id: string; readonly name: string }): Promise<void> {
    const using = (await this.list()).flatMap((group) => (group.vaultId === id ? [group.name] : []));
    if (using.length === 0) return;
    const text = `the vault ${name} is needed by the protection groups ${using.join(", ")}: give them another one, or remove them`;
    throw new EngineError("conflict", text, { vault: name });
  }

  /** VMs that no group protects. */
  async uncovered(): Promise<VmView[]> {
    const vms = this.#options.hosts.vms();
    const { uncovered } = membersOf(await this.list(), await this.#selectable(vms));
    const ids = new Set(uncovered);
    return vms.filter(({ id }) => ids.has(id));
  }

  /** A capture ended well that no group began: it counts for those that keep the VM in the same vault. */
  captured(job: JobRecord): void {
    this.#byHand.push(job);
    this.nudge();
  }

  /** Looks again now: a VM, a host or a job changed. */
  nudge(): void {
    this.#again = true;
    this.#wake?.();
  }

  /** Starts what is due until `signal` fires. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    while (!signal.aborted) {
      this.#again = false;
      let wakeAt: number | undefined;
      try {
        wakeAt = await this.look({ signal });
      } catch (error) {
        this.#options.log.warn({ err: error }, `protection groups could not be looked at: ${describeError(error)}`);
      }
      await this.#sleep(wakeAt, signal);
    }
  }

  /** One look: settles what ended, takes members in and out, and starts what is due. Gives when to look again. */
  async look(options: { readonly signal?: AbortSignal } = {}): Promise<number | undefined> {
    const members = await this.#settled(await this.#members());
    const { starts, waits, wakeAt } = planRuns(members, this.#options.clock.now(), this.#options.atOnce);
    const failed: Wait[] = [];
    for (const start of starts) {
      try {
        await this.#start(start);
      } catch (error) {
        // As when its vault was forgotten; the others go on.
        const { group, record } = start.member;
        this.#options.log.warn({ err: error, group: group.name, vm: record.vm }, `a capture could not be started: ${describeError(error)}`);
        failed.push({ member: start.member, reason: { code: "not-started", text: describeError(error) } });
      }
    }
    this.#waits = [...waits, ...failed];
    await this.#options.alerts?.look(await this.list(), await this.status(), options);
    return wakeAt;
  }

  async #start({ member: { group, record }, dueAt, attempt, check }: Start): Promise<void> {
    const idempotencyKey = `group:${group.id}:${record.vmId}:${dueAt}:${attempt}`;
    const vault = await this.#options.vaults.find(group.vaultId);
    const [kind, input] = captureInput(group, record, vault.name, check);
    const job = await this.#options.jobs.submit(kind, input, { idempotencyKey });
    const failures = attempt === 1 ? 0 : record.failures;
    await this.#options.members.put(keyOf(record), { ...record, dueAt, failures, jobId: job.id });
  }

  async #checkName({ id, name }: ProtectionGroup): Promise<void> {
    const taken = (await this.list()).find((other) => other.name === name && other.id !== id);
    if (taken) throw new EngineError("conflict", `there is a protection group '${name}' already: choose another name`, { group: name });
  }

  /** Who is a member now; new ones are written down, those that left are forgotten. */
  async #members(): Promise<DueMember[]> {
    const { hosts, members: records, clock } = this.#options;
    const groups = await this.list();
    const vms = new Map(hosts.vms().map((vm) => [vm.id, vm]));
    const hostStates = new Map(hosts.hosts().map((host) => [host.id, host.state]));
    const { members } = membersOf(groups, await this.#selectable([...vms.values()]));
    const known = new Map((await records.list()).map((record) => [keyOf(record), record]));
    const now: DueMember[] = [];
    for (const group of groups) {
      for (const vmId of members.get(group.id) ?? []) {
        const vm = vms.get(vmId)!;
        const key = keyOf({ groupId: group.id, vmId });
        const fresh: MemberRecord = {
          groupId: group.id,
          vmId,
          vm: vm.name,
          since: new Date(clock.now()).toISOString(),
          failures: 0,
          runs: [],
        };
        const { left, ...before } = known.get(key) ?? fresh;
        const record = { ...before, vm: vm.name };
        if (!known.delete(key) || left) await records.put(key, record);
        const reachable = hostStates.get(vm.hostId) === "up" && vm.state !== "unknown";
        now.push({ group, record, hostId: vm.hostId, host: vm.host, pools: poolsOf(vm), reachable });
      }
    }
    const current = new Set(now.map(({ record }) => keyOf(record)));
    const certain = [...hostStates.values()].every((state) => state === "up");
    for (const id of vms.keys()) this.#seen.add(id);
    const groupIds = new Set(groups.map(({ id }) => id));
    for (const [key, record] of known) {
      // A server that has just started knows no VM of a lost host: it may be a member there, and late.
      const maybe = !certain && !this.#seen.has(record.vmId) && groupIds.has(record.groupId);
      if (maybe && !record.left) current.add(key);
      else if (!maybe) await this.#left(key, record, vms.has(record.vmId));
    }
    this.#current = current;
    return now;
  }

  /** A VM that left keeps its record, so that it goes on where it was when it comes back; one without runs has none to keep. */
  async #left(key: string, record: MemberRecord, exists: boolean): Promise<void> {
    const { members, clock } = this.#options;
    const ended = Date.parse(record.lastEndedAt ?? record.since);
    const forgotten = !exists && ended < clock.now() - keptMs;
    if (forgotten || (record.jobId === undefined && record.runs.length === 0)) await members.delete(key);
    else if (!record.left) await members.put(key, { ...record, left: true });
  }

  /** Members with the outcome of jobs that ended, on record. */
  async #settled(members: readonly DueMember[]): Promise<DueMember[]> {
    const settled: DueMember[] = [];
    for (const member of await this.#counted(members)) {
      const { jobId } = member.record;
      const job = jobId === undefined ? undefined : await this.#options.jobs.get(jobId).catch(forgotten);
      if (jobId === undefined || (job && !isEnded(job))) {
        settled.push(member);
        continue;
      }
      const record = withOutcome(member.record, job);
      await this.#options.members.put(keyOf(record), record);
      settled.push({ ...member, record });
      if (record.jobId === undefined && record.runs.at(-1)?.outcome === "done") await this.#retain(member.group, record);
    }
    return settled;
  }

  async #counted(members: readonly DueMember[]): Promise<DueMember[]> {
    const jobs = this.#byHand;
    this.#byHand = [];
    const counted: DueMember[] = [];
    for (const member of members) {
      const { group } = member;
      let { record } = member;
      for (const job of group.paths ? [] : jobs) {
        if (job.input["vmId"] !== record.vmId || job.input["vaultId"] !== group.vaultId) continue;
        record = withPoint(record, job);
        await this.#options.members.put(keyOf(record), record);
        await this.#retain(group, record);
      }
      counted.push({ ...member, record });
    }
    return counted;
  }

  async #retain(group: ProtectionGroup, record: MemberRecord): Promise<void> {
    try {
      await this.#options.retain?.(group, record);
    } catch (error) {
      this.#options.log.warn({ err: error, group: group.name, vm: record.vm }, `old points could not be pruned: ${describeError(error)}`);
    }
  }

  async #selectable(vms: readonly VmView[]): Promise<SelectableVm[]> {
    const tagsOf = await this.#options.tags?.();
    return vms.map((vm) => ({ id: vm.id, name: vm.name, host: vm.host, tags: tagsOf?.(vm) ?? [], pools: poolsOf(vm) }));
  }

  async #sleep(wakeAt: number | undefined, signal: AbortSignal): Promise<void> {
    if (this.#again || signal.aborted) return;
    const ms = Math.max(0, Math.min(longestSleepMs, (wakeAt ?? Infinity) - this.#options.clock.now()));
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await this.#options.clock.sleep(ms, { signal: AbortSignal.any([signal, woken.signal]) }).catch(() => undefined);
    this.#wake = undefined;
  }
}

function keyOf({ groupId, vmId }: Pick<MemberRecord, "groupId" | "vmId">): string {
  return `${groupId} ${vmId}`;
}

function poolsOf(vm: VmView): string[] {
  return [...new Set(vm.disks.flatMap(({ source }) => source.pool ?? []))];
}

/** The kind of a member's job, and its input. */
function captureInput(group: ProtectionGroup, member: MemberRecord, vault: string, check: boolean): readonly [kind: string, JsonObject] {
  const { id: groupId, name: set, vaultId, onMigration, atLeast, paths } = group;
  const { vmId, vm } = member;
  const common = { vmId, vm, vaultId, vault, groupId };
  if (paths) return ["vm.capture-files", { ...common, set, paths: [...paths] }];
  return ["vm.capture", { ...common, onMigration, atLeast, ...(check && { check }) }];
}

function forgotten(error: unknown): undefined {
  if (error instanceof EngineError && error.kind === "not-found") return undefined;
  throw error;
}
