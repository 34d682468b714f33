import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { CancelledError } from "@godwit/core";
import { ConnectCloseReason, DomainEvent, DomainEventId, JobParam, typedParams } from "../src/index.ts";
import { domainEventKinds } from "../src/events/kinds.ts";
import { remoteEvents, remoteProcedures } from "../src/protocol/generated/remote.ts";
import type { FaultPeer } from "./fault-peer.ts";
import { openFaulty } from "./fault-peer.ts";

const register = remoteProcedures.connectDomainEventCallbackRegisterAny;
const deregister = remoteProcedures.connectDomainEventCallbackDeregisterAny;
const dom = { name: "a", uuid: "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", id: 1 };

function lifecycle(peer: FaultPeer, callbackId: number, event: number): void {
  const { number, message } = remoteEvents.domainEventCallbackLifecycle;
  peer.event(number, (to) => message.write(to, { callbackId, msg: { dom, event, detail: 0 } }));
}

test("every domain event id of libvirt has a kind", () => {
  const ids = Object.values(domainEventKinds).map(({ id }) => id);
  assert.deepEqual(ids, Object.values(DomainEventId));
});

test("the daemon is told at once, and events before its answer are not lost", async () => {
  const { peer, connection } = await openFaulty();
  await using events = connection.events.domain("lifecycle", { dom });
  const call = await peer.next();
  assert.equal(call.header.procedure, register.number);
  lifecycle(peer, 7, DomainEvent.STARTED);
  peer.reply(call, register, 7);
  lifecycle(peer, 7, DomainEvent.STOPPED);
  lifecycle(peer, 8, DomainEvent.CRASHED);
  await events.ready;
  const seen: number[] = [];
  for await (const next of events) {
    assert.ok(next.kind === "item");
    seen.push(next.item.event);
    if (seen.length === 2) {
      // Leaving the loop de-registers, and waits for the answer.
      void peer.nextOf(deregister).then((frame) => peer.reply(frame, deregister, undefined));
      break;
    }
  }
  assert.deepEqual(seen, [DomainEvent.STARTED, DomainEvent.STOPPED]);
  await connection.close();
});

test("a consumer that falls behind is told how much it missed, in its place", async () => {
  const { peer, connection } = await openFaulty();
  await using events = connection.events.domain("lifecycle", { capacity: 2 });
  peer.reply(await peer.next(), register, 1);
  await events.ready;
  for (let count = 0; count < 5; count += 1) lifecycle(peer, 1, count);
  await turn();
  const seen: unknown[] = [];
  for await (const next of events) {
    seen.push(next.kind === "item" ? next.item.event : `missed ${next.dropped}`);
    if (seen.length === 3) lifecycle(peer, 1, 8);
    if (seen.length === 4) {
      void peer.nextOf(deregister).then((frame) => peer.reply(frame, deregister, undefined));
      break;
    }
  }
  assert.deepEqual(seen, [0, 1, "missed 3", 8]);
  await connection.close();
});

test("an abort ends the iteration with its reason and de-registers", async () => {
  const { peer, connection } = await openFaulty();
  const abort = new AbortController();
  const events = connection.events.domain("jobCompleted", { signal: abort.signal });
  peer.reply(await peer.next(), register, 3);
  await events.ready;
  const iterating = Array.fromAsync(events);
  const reason = new CancelledError();
  abort.abort(reason);
  const frame = await peer.nextOf(deregister);
  assert.equal(frame.payload.readInt32BE(0), 3);
  peer.reply(frame, deregister, undefined);
  await assert.rejects(iterating, reason);
  await connection.close();
});

test("an abort before the daemon answered de-registers what it registered", async () => {
  const { peer, connection } = await openFaulty();
  const abort = new AbortController();
  const events = connection.events.domain("reboot", { signal: abort.signal });
  const call = await peer.next();
  abort.abort();
  peer.reply(call, register, 4);
  const frame = await peer.nextOf(deregister);
  assert.equal(frame.payload.readInt32BE(0), 4);
  peer.reply(frame, deregister, undefined);
  await events[Symbol.asyncDispose]();
  await connection.close();
});

test("the daemon's refusal rejects ready and the iteration", async () => {
  const { peer, connection } = await openFaulty();
  const events = connection.events.domain("nicMacChange");
  peer.error(await peer.next(), "unsupported event ID");
  await assert.rejects(events.ready, { kind: "libvirt", message: "unsupported event ID" });
  await assert.rejects(Array.fromAsync(events), { message: "unsupported event ID" });
  await connection.close();
});

test("a lost connection ends every iteration with the reason", async () => {
  const { peer, connection } = await openFaulty();
  const events = connection.events.domain("lifecycle");
  peer.reply(await peer.next(), register, 1);
  await events.ready;
  const iterating = assert.rejects(Array.fromAsync(events), { kind: "connection-lost" });
  peer.stream.end();
  await iterating;
  await connection.close();
});

test("an event that cannot be understood ends its own subscription only", async () => {
  const { peer, connection } = await openFaulty();
  const events = connection.events.domain("lifecycle");
  peer.reply(await peer.next(), register, 1);
  await events.ready;
  peer.event(remoteEvents.domainEventCallbackLifecycle.number, (to) => {
    to.i32(1);
    to.u32(0xffff_ffff);
  });
  const iterating = assert.rejects(Array.fromAsync(events), { kind: "protocol" });
  peer.reply(await peer.nextOf(deregister), deregister, undefined);
  await iterating;
  assert.equal(connection.state.kind, "open");
  await connection.close();
});

test("a job's parameters come as a record", async () => {
  const { peer, connection } = await openFaulty();
  await using events = connection.events.domain("jobCompleted");
  peer.reply(await peer.next(), register, 1);
  await events.ready;
  const { number, message } = remoteEvents.domainEventCallbackJobCompleted;
  const params = typedParams.encode({ [JobParam.DOWNTIME]: 32n, [JobParam.OPERATION]: 5, [JobParam.SUCCESS]: true });
  peer.event(number, (to) => message.write(to, { callbackId: 1, dom, params }));
  for await (const next of events) {
    assert.deepEqual(next, { kind: "item", item: { dom, params: { downtime: 32n, operation: 5, success: true } } });
    void peer.nextOf(deregister).then((frame) => peer.reply(frame, deregister, undefined));
    break;
  }
  await connection.close();
});

test("a daemon that lost its hypervisor is a lost connection", async () => {
  const { peer, connection } = await openFaulty();
  const { number, message } = remoteEvents.connectEventConnectionClosed;
  peer.event(number, (to) => message.write(to, { reason: ConnectCloseReason.EOF }));
  const error = await connection.closed;
  assert.equal(error?.kind, "connection-lost");
  assert.equal(error.context["reason"], "EOF");
  await connection.close();
});
