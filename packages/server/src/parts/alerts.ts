import { systemClock } from "@godwit/core";
import { type AlertMessage, Alerts, type Store } from "@godwit/engine";
import type { Logger } from "pino";
import type { Services } from "../services.ts";

/** Alerts with their webhooks, and who listens to them. */
export function alertsPart(store: Store, log: Logger): Pick<Services, "alertChanges"> & { readonly alerts: Alerts } {
  const listeners = new Set<(id: string) => void>();
  const changed = (id: string): void => {
    for (const listener of listeners) listener(id);
  };
  return {
    alerts: new Alerts({ alerts: store.alerts, clock: systemClock, send: post, log, changed }),
    async *alertChanges({ signal }) {
      const unread = new Set<string>();
      let wake: (() => void) | undefined;
      const listener = (id: string): void => {
        unread.add(id);
        wake?.();
      };
      listeners.add(listener);
      signal.addEventListener("abort", () => wake?.(), { once: true });
      try {
        while (!signal.aborted) {
          for (const id of unread) {
            unread.delete(id);
            yield id;
          }
          if (unread.size === 0 && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        listeners.delete(listener);
      }
    },
  };
}

async function post(url: string, message: AlertMessage, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const headers = { "content-type": "application/json", "user-agent": "godwit" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(message), signal, redirect: "error" });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
}
