import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ChangeEvent, type Job, parseServerSentEvents, type ServerSentEvent } from "@godwit/api";
import { Readable } from "node:stream";
import type { JobContext } from "@godwit/engine";
import type { JsonObject } from "@godwit/core";
import { httpRig, type Rig, vm } from "./http-rig.ts";

async function* events(message: IncomingMessage): AsyncGenerator<ServerSentEvent> {
  yield* parseServerSentEvents(Readable.toWeb(message) as ReadableStream<Uint8Array>);
}

async function changes(rig: Rig, headers: Record<string, string> = {}): Promise<AsyncGenerator<ServerSentEvent>> {
  const message = await rig.open("/api/v1/events", { headers });
  assert.equal(message.headers["content-type"], "text/event-stream; charset=utf-8");
  return events(message);
}

async function next(stream: AsyncGenerator<ServerSentEvent>): Promise<ChangeEvent & { eventId: string | undefined }> {
  const { value, done } = await stream.next();
  assert.ok(!done, "the stream ended");
  return { ...(JSON.parse(value.data) as ChangeEvent), eventId: value.id };
}

/** Fails instead of hanging. */
async function eventually(what: string, look: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 30_000; !look(); await sleep(10)) assert.ok(performance.now() < deadline, what);
}

test("a change carries what the thing is now, and nothing when it is gone", async () => {
  await using rig = await httpRig();
  const stream = await changes(rig);
  rig.world.changes.push({ kind: "vm", vmId: "v1" });
  const changed = await next(stream);
  assert.deepEqual([changed.type, changed.id, (changed.data as { name: string }).name], ["vm", "v1", "vm-0001"]);
  rig.world.vms = [];
  rig.world.changes.push({ kind: "vm-removed", vmId: "v1" });
  assert.deepEqual(await next(stream).then(({ type, id, data }) => ({ type, id, data })), { type: "vm", id: "v1", data: undefined });
  rig.world.changes.push({ kind: "host", hostId: "h1" }, { kind: "pools", hostId: "h1" });
  assert.equal((await next(stream)).type, "host");
  assert.equal((await next(stream)).type, "storage-pool");
  await stream.return(undefined);
});

test("jobs are told as they change, and with them their VM", async () => {
  await using rig = await httpRig();
  const stream = await changes(rig);
  await rig.call("/api/v1/vms/v1/start", { method: "POST" });
  const seen = new Map<string, ChangeEvent>();
  for (;;) {
    const event = await next(stream);
    seen.set(event.type, event);
    if (event.type === "job" && (event.data as Job).state === "done") break;
  }
  assert.ok(seen.has("vm"));
  await stream.return(undefined);
});

test("a client that comes back is told to look at everything, because nobody kept what it missed", async () => {
  await using rig = await httpRig();
  const first = await changes(rig);
  rig.world.changes.push({ kind: "vm", vmId: "v1" });
  const { eventId } = await next(first);
  assert.ok(eventId);
  await first.return(undefined);
  const again = await changes(rig, { "last-event-id": eventId });
  assert.equal((await next(again)).type, "overflow");
  await again.return(undefined);
});

test("a client that does not read costs the same however much changes, and then sees how things are now", async () => {
  await using rig = await httpRig();
  rig.world.vms = Array.from({ length: 50 }, (_, n) => vm(n, { title: "x".repeat(2000) }));
  const message = await rig.open("/api/v1/events");
  message.pause();
  for (let round = 0; round < 400; round += 1) {
    rig.world.vms = rig.world.vms.map((each) => ({ ...each, vcpus: round }));
    rig.world.changes.push(...rig.world.vms.map(({ id }) => ({ kind: "vm", vmId: id }) as const));
    await new Promise((resolve) => setImmediate(resolve));
  }
  let received = 0;
  const last = new Map<string, number>();
  for await (const { data } of events(message)) {
    received += 1;
    const { id, data: now } = JSON.parse(data) as { id: string; data: { vcpus: number } };
    last.set(id, now.vcpus);
    if (last.size === 50 && [...last.values()].every((vcpus) => vcpus === 399)) break;
  }
  assert.ok(received < 10_000, `${received} of 20,000 changes were sent; the others were folded together`);
});

test("more changed things than are kept become one word: look at everything", async () => {
  await using rig = await httpRig();
  const message = await rig.open("/api/v1/events");
  rig.world.changes.push(...Array.from({ length: 20_000 }, (_, n) => ({ kind: "vm", vmId: `gone-${n}` }) as const));
  let received = 0;
  for await (const { data } of events(message)) {
    received += 1;
    if ((JSON.parse(data) as ChangeEvent).type === "overflow") break;
  }
  assert.ok(received <= 4097, `${received}`);
});

test("silence is broken by a heartbeat, and a client that takes nothing is cut off", async () => {
  await using rig = await httpRig({ heartbeatMs: 20, stalledMs: 100 });
  const beating = await rig.open("/api/v1/events");
  const [chunk] = (await once(beating, "data")) as [Buffer];
  assert.equal(chunk.toString(), ": beat\n\n");
  beating.destroy();
  rig.world.vms = Array.from({ length: 3000 }, (_, n) => vm(n, { title: "x".repeat(4000) }));
  const stalled = await rig.open("/api/v1/events");
  stalled.pause();
  rig.world.changes.push(...rig.world.vms.map(({ id }) => ({ kind: "vm", vmId: id }) as const));
  await eventually("the server logs that it cut the client off", () => rig.logged.some((line) => line.includes("took nothing for 0.1 s")));
  stalled.destroy();
});

test("a job's stream begins with how it is now and ends with its end", async () => {
  await using rig = await httpRig();
  const go = Promise.withResolvers<void>();
  rig.world.run.body = async (context: JobContext<JsonObject>) => {
    context.progress({ phase: "copying", fraction: 0.5 });
    await go.promise;
    return { moved: true };
  };
  const { body } = await rig.call("/api/v1/vms/v1/start", { method: "POST" });
  const path = `/api/v1/jobs/${String(body["id"])}/events`;
  const states: Job[] = [];
  for await (const { data } of events(await rig.open(path))) {
    states.push(JSON.parse(data) as Job);
    if (states.at(-1)?.progress?.fraction === 0.5) go.resolve();
  }
  assert.deepEqual([states.at(-1)?.state, states.at(-1)?.result], ["done", { moved: true }]);
  const late = await Array.fromAsync(events(await rig.open(path)));
  assert.deepEqual(
    late.map(({ data }) => (JSON.parse(data) as Job).state),
    ["done"],
  );
});

test("a server that stops ends its streams and refuses what comes later", async () => {
  await using rig = await httpRig();
  const stream = await changes(rig);
  const ended = stream.next();
  rig.app.stop();
  assert.equal((await ended).done, true);
  const { status, body, headers } = await rig.call("/api/v1/hosts");
  assert.deepEqual([status, body["kind"], headers["retry-after"]], [503, "stopping", "1"]);
});
