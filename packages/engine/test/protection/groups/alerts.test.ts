import assert from "node:assert/strict";
import { test } from "node:test";
import { type AlertMessage, type AlertRecord, Alerts } from "../../../src/protection/groups/alerts.ts";
import type { ProtectionGroup } from "../../../src/protection/groups/model.ts";
import type { MemberStatus } from "../../../src/protection/groups/report.ts";
import { FakeClock } from "../../jobs/fake-clock.ts";
import { MemoryCollection } from "../../network/support.ts";

const group = { id: "g", name: "gold", webhook: "https://example.org/hook" } as ProtectionGroup;
const status = (state: MemberStatus["state"]): MemberStatus => ({
  groupId: "g",
  group: "gold",
  vmId: "v",
  vm: "web",
  state,
  reason: { code: "sla", text: "no point for 4 h" },
  succeeded: 0,
  ended: 0,
});

test("an alert is raised once, resolved once, told to the webhook in order, and told again until it is taken", async () => {
  const clock = new FakeClock();
  const kept = new MemoryCollection<AlertRecord>();
  const sent: AlertMessage[] = [];
  const changed: string[] = [];
  let down = true;
  const send = async (url: string, message: AlertMessage): Promise<void> => {
    assert.equal(url, group.webhook);
    if (down) throw new Error("connection refused");
    sent.push(message);
  };
  const warnings: string[] = [];
  const log = { warn: (_: object, text: string) => void warnings.push(text) };
  const alerts = new Alerts({ alerts: kept, clock, send, log, changed: (id) => void changed.push(id) });
  await alerts.look([group], [status("late")]);
  await alerts.look([group], [status("late")]);
  assert.equal((await alerts.list()).length, 1);
  assert.match(warnings[0] ?? "", /webhook of gold did not take an alert: connection refused/);
  await alerts.look([group], [status("ok")]);
  assert.deepEqual(sent, []);
  down = false;
  await alerts.look([group], [status("ok")]);
  await alerts.look([group], [status("ok")]);
  assert.deepEqual(
    sent.map(({ change, vm, text }) => [change, vm, text]),
    [
      ["raised", "web", "no point for 4 h"],
      ["resolved", "web", "no point for 4 h"],
    ],
  );
  assert.equal(changed.length, 2);
  await clock.advance(31 * 86_400_000);
  await alerts.look([group], [status("ok")]);
  assert.deepEqual(await alerts.list(), [], "forgotten after a month");
});

test("a member that left its group has no alert any more, and trouble that comes back is raised anew", async () => {
  const kept = new MemoryCollection<AlertRecord>();
  const alerts = new Alerts({ alerts: kept, clock: new FakeClock(), send: async () => undefined, log: { warn: () => undefined } });
  await alerts.look([group], [status("late")]);
  await alerts.look([group], []);
  assert.notEqual((await alerts.list())[0]?.resolvedAt, undefined);
  await alerts.look([group], [status("late")]);
  assert.equal((await alerts.list())[0]?.resolvedAt, undefined);
});

test("a webhook that does not answer holds up no server that is told to stop, and is told by the next one", { timeout: 5000 }, async () => {
  const stop = new AbortController();
  const kept = new MemoryCollection<AlertRecord>();
  const never: ConstructorParameters<typeof Alerts>[0]["send"] = (_url, _message, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
  const alerts = new Alerts({ alerts: kept, clock: new FakeClock(), send: never, log: { warn: () => assert.fail() } });
  const looking = alerts.look([group], [status("late")], { signal: stop.signal });
  setTimeout(() => stop.abort(), 20);
  await looking;
  assert.deepEqual((await alerts.list())[0]?.pending, ["raised"]);
});
