/**
 * A day's maintenance, to be watched: five hosts, twelve guests of different rules and loads on one of them, a slow
 * link, and a guest that changes memory faster than that carries. What the dry run says, what the drain then does and
 * how it proves it, and how all of them come back. Nothing is measured against anybody here; `drain` does that.
 *
 *   npm run bench -- drain-day
 */
import type { DrainPlan, Job, MovesResult } from "@godwit/api";
import { Godwit } from "../scripts/godwit-process.ts";
import { pauseAtLast, rulesText, startTwelveGuests } from "../test/support/twelve-guests.ts";

const say = (text: string): void => void process.stdout.write(`${text}\n`);

export default async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  say("starting five hosts and twelve guests …");
  const twelve = await startTwelveGuests(stack);
  const { site } = twelve;
  const godwit = new Godwit({ socket: site.godwit.socket, say });
  await twelve.apply(rulesText());
  say("\n# busy changes memory faster than its only way out carries, and nobody allowed it more than 300 ms of pause:");
  const { stdout } = await godwit.try(["host", "drain", "alpha", "--dry-run"]);
  say(stdout);
  await twelve.apply(rulesText([pauseAtLast]));
  say("# with a rule that lets it be paused at last:");
  await godwit.run(["host", "drain", "alpha", "--dry-run"]);
  const plan = await site.godwit.json<DrainPlan>(["host", "drain", "alpha", "--dry-run"]);
  await godwit.run(["host", "drain", "alpha"]);
  const [last] = await site.godwit
    .json<Job[]>(["job", "list", "--limit", "100"])
    .then((jobs) => jobs.filter(({ kind }) => kind === "host.drain"));
  if (!last) throw new Error("the drain left no job");
  const { moves } = last.result as MovesResult;
  const asSaid = moves.filter(({ vm, destination, network }) =>
    plan.entries.some((entry) => entry.vm === vm && entry.destination === destination && entry.network === network),
  );
  say(`${asSaid.length} of ${moves.length} moves were as the dry run had said\n`);
  await godwit.run(["host", "resume", "alpha", "--failback", "now"]);
  await godwit.run(["vm", "list"]);
}
