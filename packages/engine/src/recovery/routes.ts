import { describeError } from "@godwit/core";
import type { JobContext } from "../jobs/job.ts";
import { RouteLostError } from "../ports/backup.ts";
import type { BackupRoute, UsableRoute } from "../protection/index.ts";

/** The routes to a host, shared by all disks of a recovery: one that was lost is not tried again. */
export class Routes {
  readonly #routes: readonly UsableRoute[];
  readonly #lost: (route: BackupRoute, why: string) => void;
  #at = 0;

  constructor(routes: readonly UsableRoute[], lost: (route: BackupRoute, why: string) => void = () => undefined) {
    this.#routes = routes;
    this.#lost = lost;
  }

  get now(): BackupRoute {
    return this.#routes[this.#at]!.view;
  }

  /** Runs `body` with the best route, and again with the next one when that is lost; `again` then says so. */
  async through<T>(
    context: Pick<JobContext<never>, "reason">,
    body: (route: UsableRoute["route"], again: boolean) => Promise<T>,
  ): Promise<T> {
    for (let again = false; ; again = true) {
      const at = this.#at;
      try {
        return await body(this.#routes[at]!.route, again);
      } catch (error) {
        if (!(error instanceof RouteLostError)) throw error;
        this.#lost(this.#routes[at]!.view, describeError(error));
        if (at + 1 >= this.#routes.length) throw error;
        if (this.#at !== at) continue;
        this.#at += 1;
        const lost = `${this.#routes[at]!.view.reason.text}: ${describeError(error)}`;
        await context.reason({ code: "route-lost", text: `${lost}; the writing goes on ${this.now.reason.text}` });
      }
    }
  }
}
