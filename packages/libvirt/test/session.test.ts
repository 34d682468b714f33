import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type Clock, CancelledError, describeError } from "@godwit/core";
import { type Connection, connectOver, LibvirtError, type LibvirtErrorKind } from "../src/index.ts";
import { remoteProcedures } from "../src/protocol/generated/remote.ts";
import { encodeFrame, encodeHeader, frameLimit, MessageStatus, MessageType, overhead } from "../src/rpc/frame.ts";
import { keepaliveProgram } from "../src/rpc/keepalive.ts";
import { FaultPeer, openFaulty } from "./fault-peer.ts";

const { connectGetHostname, connectGetUri, domainLookupByName, domainLookupById, storageVolDownload } = remoteProcedures;
const kind =
  (wanted: LibvirtErrorKind, cause?: RegExp) =>
  (error: unknown): boolean =>
    error instanceof LibvirtError && error.kind === wanted && (cause === undefined || cause.test(describeError(error)));
const dom = { name: "a", uuid: "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", id: 1 };
const vol = { pool: "p", name: "v", key: "/v" };

test("answers that come out of order find their calls", async () => {
  const { peer, connection } = await openFaulty();
  const names = ["a", "b", "c", "d"].map((name) => connection.remote.domainLookupByName({ name }));
  const calls = [await peer.next(), await peer.next(), await peer.next(), await peer.next()];
  for (const call of calls.toReversed()) peer.reply(call, domainLookupByName, { ...dom, id: call.header.serial });
  const found = await Promise.all(names);
  assert.deepEqual(
    found.map(({ id }) => id),
    calls.map(({ header }) => header.serial),
  );
  await connection.close();
});

test("no more calls are under way than the limit, and later ones go out in order", async () => {
  const { peer, connection } = await openFaulty({ maxInFlight: 2 });
  const results = [1, 2, 3].map((id) => connection.remote.domainLookupById({ id }));
  const first = await peer.next();
  const second = await peer.next();
  await turn();
  assert.equal(first.payload.readInt32BE(0), 1);
  peer.reply(second, domainLookupById, dom);
  const third = await peer.next();
  assert.equal(third.payload.readInt32BE(0), 3);
  for (const call of [first, third]) peer.reply(call, domainLookupById, dom);
  await Promise.all(results);
  await connection.close();
});

/** What breaks the protocol: the connection closes, and every pending call says why. */
const breaches: readonly (readonly [name: string, why: RegExp, send: (peer: FaultPeer, serial: number) => void])[] = [
  ["an answer to no call", /an answer to no call of ours/, (peer, serial) => reply(peer, { serial: serial + 1 })],
  [
    "an answer from another procedure",
    /an answer to no call of ours/,
    (peer, serial) => reply(peer, { serial, procedure: connectGetUri.number }),
  ],
  [
    "an answer that says it continues",
    /an answer to no call of ours/,
    (peer, serial) => reply(peer, { serial, status: MessageStatus.continue }),
  ],
  ["a call to the client", /which a client never gets/, (peer, serial) => reply(peer, { serial, type: MessageType.call })],
  [
    "an answer with file descriptors",
    /which a client never gets/,
    (peer, serial) => reply(peer, { serial, type: MessageType.replyWithFds }),
  ],
  ["a giant length", /a message says it has 4294967295 bytes/, (peer) => void peer.stream.write(Buffer.from("ffffffff", "hex"))],
  ["a length over the limit by one", new RegExp(`${frameLimit + 1} bytes`), (peer) => void peer.stream.write(lengthWord(frameLimit + 1))],
  ["a length without room for a header", /a message says it has 27 bytes/, (peer) => void peer.stream.write(lengthWord(overhead - 1))],
];

function lengthWord(length: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt32BE(length);
  return word;
}

function reply(peer: FaultPeer, header: { serial: number; procedure?: number; type?: number; status?: number }): void {
  peer.send({ program: 0x2000_8086, version: 1, procedure: connectGetHostname.number, type: MessageType.reply, status: 0, ...header });
}

for (const [name, why, send] of breaches) {
  test(`${name} closes the connection and fails every pending call with the cause`, async () => {
    const { peer, connection } = await openFaulty();
    const calls = [connection.remote.connectGetHostname(), connection.remote.connectGetUri()];
    const { header } = await peer.next();
    send(peer, header.serial);
    for (const call of calls) await assert.rejects(call, kind("protocol", why));
    assert.ok(kind("protocol", why)(await connection.closed));
    await assert.rejects(connection.remote.connectGetUri(), kind("protocol"));
    await connection.close();
  });
}

test("a connection that ends within a message says so", async () => {
  const { peer, connection } = await openFaulty();
  const call = connection.remote.connectGetHostname();
  const { header } = await peer.next();
  const whole = encodeFrame({ ...header, type: MessageType.reply }, (to) => connectGetHostname.result.write(to, "host"));
  peer.stream.end(whole.subarray(0, 30));
  await assert.rejects(call, kind("connection-lost", /in the middle of a message \(30 bytes of it came\)/));
  await connection.close();
});

test("a result that is not of its type fails its own call only", async () => {
  const { peer, connection } = await openFaulty();
  const broken = connection.remote.connectGetHostname();
  const fine = connection.remote.connectGetUri();
  const first = await peer.next();
  const second = await peer.next();
  peer.send({ ...first.header, type: MessageType.reply }, (to) => to.u32(9));
  peer.reply(second, connectGetUri, "qemu:///system");
  await assert.rejects(broken, kind("protocol", /12 bytes wanted, 0 left/));
  assert.equal(await fine, "qemu:///system");
  assert.equal(connection.state.kind, "open");
  await connection.close();
});

test("a value that its type does not have is refused and nothing is sent", async () => {
  const { peer, connection } = await openFaulty();
  await assert.rejects(connection.remote.domainLookupById({ id: 2 ** 40 }), kind("invalid-argument"));
  const call = connection.remote.domainLookupById({ id: 7 });
  const frame = await peer.next();
  assert.equal(frame.payload.readInt32BE(0), 7);
  peer.reply(frame, domainLookupById, dom);
  await call;
  await connection.close();
});

test("an abandoned call rejects with the reason, and its answer is consumed", async () => {
  const { peer, connection } = await openFaulty();
  const abort = new AbortController();
  const call = connection.remote.connectGetHostname({ signal: abort.signal });
  const frame = await peer.next();
  const reason = new CancelledError("enough");
  abort.abort(reason);
  await assert.rejects(call, reason);
  peer.reply(frame, connectGetHostname, "late");
  const next = connection.remote.connectGetUri();
  peer.reply(await peer.next(), connectGetUri, "u");
  assert.equal(await next, "u");
  await connection.close();
});

test("an abandoned call keeps its place until it is answered; a call that waits for a place is never sent", async () => {
  const { peer, connection } = await openFaulty({ maxInFlight: 1 });
  const abort = new AbortController();
  const sent = connection.remote.connectGetHostname({ signal: abort.signal });
  const frame = await peer.next();
  const waiting = connection.remote.domainLookupById({ id: 1 }, { signal: abort.signal });
  const after = connection.remote.connectGetUri();
  abort.abort();
  await Promise.all([assert.rejects(sent), assert.rejects(waiting)]);
  peer.reply(frame, connectGetHostname, "late");
  const last = await peer.next();
  assert.equal(last.header.procedure, connectGetUri.number);
  peer.reply(last, connectGetUri, "u");
  assert.equal(await after, "u");
  await connection.close();
});

test("a storm of cancellations keeps the connection in step", async () => {
  const { peer, connection } = await openFaulty({ maxInFlight: 8 });
  let seed = 42;
  const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  const done = new AbortController();
  const serve = (async () => {
    while (!done.signal.aborted) {
      const frame = await peer.next();
      const id = frame.payload.readInt32BE(0);
      if (random() < 0.3) await turn();
      if (random() < 0.1) peer.error(frame, `no ${id}`);
      else peer.reply(frame, domainLookupById, { ...dom, id });
    }
  })();
  const outcomes = await Promise.all(
    Array.from({ length: 2000 }, async (_, id) => {
      const abort = new AbortController();
      const call = connection.remote.domainLookupById({ id }, { signal: abort.signal });
      if (random() < 0.5) void turn().then(() => abort.abort());
      try {
        assert.equal((await call).id, id);
        return "ok";
      } catch (error) {
        if (error instanceof LibvirtError) assert.equal(error.message, `no ${id}`);
        else assert.equal((error as Error).name, "AbortError");
        return "failed";
      }
    }),
  );
  assert.ok(outcomes.includes("ok") && outcomes.includes("failed"));
  assert.equal((await connection.remote.domainLookupById({ id: 4711 }).catch(() => ({ id: 4711 }))).id, 4711);
  done.abort();
  await connection.close();
  await serve.catch(() => undefined);
});

test("close fails what is under way with kind closed, is idempotent, and refuses what comes after", async () => {
  const { peer, connection } = await openFaulty();
  const call = connection.remote.connectGetHostname();
  await peer.next();
  const rejected = assert.rejects(call, kind("closed", /whether it was carried out is unknown/));
  await connection.close();
  await connection.close();
  await rejected;
  assert.equal(await connection.closed, undefined);
  await assert.rejects(connection.remote.connectGetUri(), kind("closed"));
  assert.ok(peer.transport.stream.destroyed);
});

/** Time that moves when the test says so. */
class TestClock implements Clock {
  #now = 1000;
  #sleepers: { at: number; wake: () => void }[] = [];
  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  sleep(ms: number, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#sleepers.push({ at: this.#now + ms, wake: resolve });
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  }
  async pass(ms: number): Promise<void> {
    this.#now += ms;
    const due = this.#sleepers.filter(({ at }) => at <= this.#now);
    this.#sleepers = this.#sleepers.filter(({ at }) => at > this.#now);
    for (const { wake } of due) wake();
    for (let turns = 0; turns < 5; turns += 1) await turn();
  }
}

const isKeepalive = ({ header }: { readonly header: { readonly program: number } }): boolean => header.program === keepaliveProgram.number;

async function openWithClock(): Promise<{ peer: FaultPeer; connection: Connection; clock: TestClock }> {
  const clock = new TestClock();
  const opened = await openFaulty({ clock });
  await clock.pass(0);
  return { ...opened, clock };
}

test("a half-open connection is noticed after 30 s of silence, with calls pending", async () => {
  const { peer, connection, clock } = await openWithClock();
  const call = connection.remote.connectGetHostname();
  const rejected = assert.rejects(call, kind("connection-lost", /no sign of life for 30 s/));
  await peer.next();
  for (let ping = 0; ping < 5; ping += 1) {
    await clock.pass(5000);
    const frame = await peer.next();
    assert.ok(isKeepalive(frame) && frame.header.procedure === keepaliveProgram.ping);
    assert.equal(connection.state.kind, "open");
  }
  await clock.pass(4999);
  assert.equal(connection.state.kind, "open");
  await clock.pass(1);
  await rejected;
  assert.ok(kind("connection-lost")(await connection.closed));
});

test("any message is a sign of life, and the daemon's questions are answered", async () => {
  const { peer, connection, clock } = await openWithClock();
  const { number: program, version, ping, pong } = keepaliveProgram;
  for (let round = 0; round < 10; round += 1) {
    await clock.pass(5000);
    const asked = await peer.next();
    assert.equal(asked.header.procedure, ping);
    peer.stream.write(encodeHeader({ program, version, procedure: ping, type: MessageType.message, serial: 0, status: 0 }, 0));
    const answered = await peer.next();
    assert.ok(isKeepalive(answered) && answered.header.procedure === pong);
  }
  assert.equal(connection.state.kind, "open");
  await connection.close();
});

test("a daemon that never answers while opening is given up after the time that was set", async () => {
  const peer = new FaultPeer();
  peer.stream.pause();
  await assert.rejects(connectOver(peer.transport, { driverUri: null, openTimeoutMs: 20 }), kind("timeout", /not open after 20 ms/));
  assert.ok(peer.transport.stream.destroyed);
});

test("opening can be cancelled, and the transport is closed", async () => {
  const peer = new FaultPeer();
  peer.stream.pause();
  const abort = new AbortController();
  const opening = connectOver(peer.transport, { driverUri: null, signal: abort.signal });
  const reason = new CancelledError();
  abort.abort(reason);
  await assert.rejects(opening, reason);
  assert.ok(peer.transport.stream.destroyed);
});

test("a stream that was opened for a call nobody waits for is aborted", async () => {
  const { peer, connection } = await openFaulty();
  const abort = new AbortController();
  const opening = connection.remote.storageVolDownload({ vol, offset: 0n, length: 0n, flags: 0 }, { signal: abort.signal });
  const call = await peer.next();
  abort.abort();
  await assert.rejects(opening);
  peer.reply(call, storageVolDownload, undefined);
  const { header } = await peer.next();
  assert.deepEqual([header.type, header.status, header.serial], [MessageType.stream, MessageStatus.error, call.header.serial]);
  peer.send({ ...call.header, type: MessageType.stream, status: MessageStatus.ok });
  await turn();
  assert.equal(connection.state.kind, "open");
  await connection.close();
});
