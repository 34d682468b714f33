import { anySignal, type Clock, describeError } from "@godwit/core";
import type { Collection } from "../../ports/store.ts";
import type { ProtectionGroup } from "./model.ts";
import type { MemberStatus } from "./report.ts";

/** Something that an admin must know. It is raised once, and resolved once. */
export interface AlertRecord {
  /** By group and VM: the same trouble is one alert. */
  readonly id: string;
  readonly kind: "sla";
  readonly groupId: string;
  readonly group: string;
  readonly vmId: string;
  readonly vm: string;
  readonly text: string;
  /** RFC 3339. */
  readonly raisedAt: string;
  readonly resolvedAt?: string | undefined;
  /** What its webhook has not taken yet. */
  readonly pending: readonly AlertChange[];
}

export type AlertChange = "raised" | "resolved";

/** What a webhook is sent, as JSON. */
export interface AlertMessage extends Omit<AlertRecord, "pending"> {
  readonly change: AlertChange;
}

export interface AlertsOptions {
  readonly alerts: Collection<AlertRecord>;
  readonly clock: Clock;
  /** Sends a message; rejects when it was not taken, and is then asked again with the next look. */
  readonly send: (url: string, message: AlertMessage, options: { readonly signal: AbortSignal }) => Promise<void>;
  readonly log: { warn(fields: object, text: string): void };
  /** Told each time an alert was raised or resolved. */
  readonly changed?: (id: string) => void;
}

/** Resolved alerts are shown for so long. */
const keptMs = 30 * 86_400_000;
const sendMs = 10_000;

/** Raises and resolves alerts from what each member's status is, and tells the webhooks of their groups. */
export class Alerts {
  readonly #options: AlertsOptions;

  constructor(options: AlertsOptions) {
    this.#options = options;
  }

  /** Open ones first, newest first. */
  async list(): Promise<AlertRecord[]> {
    const order = ({ resolvedAt, raisedAt }: AlertRecord): string => `${resolvedAt === undefined ? "1" : "0"}${raisedAt}`;
    return (await this.#options.alerts.list()).toSorted((a, b) => (order(a) < order(b) ? 1 : -1));
  }

  /** Compares what is with what was told. May run twice: nothing is raised or resolved again. `signal` ends what is being sent. */
  async look(
    groups: readonly ProtectionGroup[],
    statuses: readonly MemberStatus[],
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const { alerts, clock } = this.#options;
    const now = clock.now();
    const known = new Map((await alerts.list()).map((alert) => [alert.id, alert]));
    const late = new Map(statuses.filter(({ state }) => state === "late").map((status) => [idOf(status), status]));
    for (const [id, status] of late) {
      const alert = known.get(id);
      if (!alert || alert.resolvedAt !== undefined) await this.#put(raised(id, status, now));
    }
    for (const [id, alert] of known) {
      if (late.has(id)) continue;
      if (alert.resolvedAt === undefined) await this.#put({ ...alert, resolvedAt: isoOf(now), pending: [...alert.pending, "resolved"] });
      else if (Date.parse(alert.resolvedAt) < now - keptMs) await alerts.delete(id);
    }
    await this.#tell(groups, signal);
  }

  async #put(alert: AlertRecord): Promise<void> {
    await this.#options.alerts.put(alert.id, alert);
    this.#options.changed?.(alert.id);
  }

  /** Sends what is pending, oldest change first; a group without a webhook has nobody to tell. */
  async #tell(groups: readonly ProtectionGroup[], signal: AbortSignal | undefined): Promise<void> {
    const hooks = new Map(groups.map(({ id, webhook }) => [id, webhook]));
    const waiting = (await this.#options.alerts.list()).filter(({ pending }) => pending.length > 0);
    await Promise.all(waiting.map((alert) => this.#tellOne(alert, hooks.get(alert.groupId), signal)));
  }

  async #tellOne(alert: AlertRecord, url: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { alerts, send, log } = this.#options;
    const { pending, ...facts } = alert;
    for (const [index, change] of pending.entries()) {
      try {
        if (url !== undefined) await send(url, { ...facts, change }, { signal: anySignal(signal, AbortSignal.timeout(sendMs)) });
      } catch (error) {
        if (signal?.aborted) return;
        log.warn({ err: error, alert: alert.id }, `the webhook of ${alert.group} did not take an alert: ${describeError(error)}`);
        return;
      }
      await alerts.put(alert.id, { ...alert, pending: pending.slice(index + 1) });
    }
  }
}

function raised(id: string, { groupId, group, vmId, vm, reason }: MemberStatus, now: number): AlertRecord {
  return { id, kind: "sla", groupId, group, vmId, vm, text: reason.text, raisedAt: isoOf(now), pending: ["raised"] };
}

function idOf({ groupId, vmId }: Pick<MemberStatus, "groupId" | "vmId">): string {
  return `sla ${groupId} ${vmId}`;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
