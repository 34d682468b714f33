import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { CancelledError } from "@godwit/core";
import type { ConnectOptions, Connection, LibvirtStream } from "../src/index.ts";
import { remoteProcedures } from "../src/protocol/generated/remote.ts";
import { StreamHole } from "../src/protocol/generated/types.ts";
import { type Frame, MessageStatus, MessageType, streamDataLimit } from "../src/rpc/frame.ts";
import { type FaultPeer, openFaulty } from "./fault-peer.ts";

const { connectGetUri, domainScreenshot, storageVolDownload, storageVolUpload } = remoteProcedures;
const args = { vol: { pool: "p", name: "v", key: "/v" }, offset: 0n, length: 0n, flags: 0 };

interface Opened {
  readonly peer: FaultPeer;
  readonly connection: Connection;
  readonly stream: LibvirtStream;
  readonly call: Frame;
}

async function open(direction: "upload" | "download", options: ConnectOptions = {}): Promise<Opened> {
  const { peer, connection } = await openFaulty(options);
  const opening = direction === "upload" ? connection.remote.storageVolUpload(args) : connection.remote.storageVolDownload(args);
  const call = await peer.next();
  peer.reply(call, direction === "upload" ? storageVolUpload : storageVolDownload, undefined);
  return { peer, connection, stream: await opening, call };
}

const confirm = (peer: FaultPeer, { header }: Frame): void => peer.send({ ...header, type: MessageType.stream, status: MessageStatus.ok });
const streamStatus = ({ header }: Frame): readonly number[] => [header.type, header.status];
const finishing = [MessageType.stream, MessageStatus.ok];
const aborting = [MessageType.stream, MessageStatus.error];

test("a download gives the bytes, holes as zeros, and finishes in order", async () => {
  const { peer, connection, stream, call } = await open("download");
  peer.data(call, Buffer.from("head"));
  peer.send({ ...call.header, type: MessageType.streamHole, status: MessageStatus.continue }, (to) =>
    StreamHole.write(to, { length: 100_000n, flags: 0 }),
  );
  peer.data(call, Buffer.from("tail"));
  peer.data(call, Buffer.alloc(0));
  const reading = Array.fromAsync(stream);
  assert.deepEqual(streamStatus(await peer.next()), finishing);
  confirm(peer, call);
  const bytes = Buffer.concat(await reading);
  assert.ok(bytes.equals(Buffer.concat([Buffer.from("head"), Buffer.alloc(100_000), Buffer.from("tail")])));
  await connection.close();
});

test("data that comes before the answer that opens its stream is not lost, as the daemon's threads may send it so", async () => {
  const { peer, connection } = await openFaulty();
  const opening = connection.remote.storageVolDownload(args);
  const call = await peer.next();
  peer.data(call, Buffer.from("late or "));
  peer.reply(call, storageVolDownload, undefined);
  peer.data(call, Buffer.from("bird"));
  peer.data(call, Buffer.alloc(0));
  const reading = Array.fromAsync(await opening);
  assert.deepEqual(streamStatus(await peer.next()), finishing);
  confirm(peer, call);
  assert.equal(Buffer.concat(await reading).toString(), "late or bird");
  await connection.close();
});

test("endless data for a stream that is never opened ends the connection", async () => {
  const { peer, connection } = await openFaulty();
  const opening = connection.remote.storageVolDownload(args);
  opening.catch(() => undefined);
  const call = await peer.next();
  for (let sent = 0; sent <= 70; sent += 1) peer.data(call, Buffer.alloc(streamDataLimit));
  await assert.rejects(opening, { kind: "protocol" });
  await connection.close();
});

test("an error in the middle of a download comes after the bytes before it", async () => {
  const { peer, connection, stream, call } = await open("download");
  peer.data(call, Buffer.from("some"));
  peer.error(call, "disk died", MessageType.stream);
  const seen: string[] = [];
  await assert.rejects(
    async () => {
      for await (const chunk of stream) seen.push(Buffer.from(chunk).toString());
    },
    { kind: "libvirt", message: "disk died" },
  );
  assert.deepEqual(seen, ["some"]);
  assert.equal(connection.state.kind, "open");
  await connection.close();
});

test("a reader that leaves early aborts the stream; what the daemon still sends is dropped", async () => {
  const { peer, connection, stream, call } = await open("download");
  peer.data(call, Buffer.from("one"));
  const leaving = (async () => {
    for await (const chunk of stream) if (chunk.length > 0) break;
  })();
  assert.deepEqual(streamStatus(await peer.next()), aborting);
  peer.data(call, Buffer.from("two"));
  confirm(peer, call);
  await leaving;
  const uri = connection.remote.connectGetUri();
  peer.reply(await peer.next(), connectGetUri, "still in step");
  assert.equal(await uri, "still in step");
  await connection.close();
});

test("a slow reader stops the source, and reading on lets it go on", async () => {
  const { peer, connection, stream, call } = await open("download", { streamBufferBytes: 100_000 });
  let sent = 0;
  const source = (async () => {
    for (; sent < 200; sent += 1) {
      peer.data(call, Buffer.alloc(50_000, sent));
      if (peer.stream.writableNeedDrain) await new Promise((resolve) => peer.stream.once("drain", resolve));
    }
    peer.data(call, Buffer.alloc(0));
  })();
  for (let turns = 0; turns < 200; turns += 1) await turn();
  assert.ok(sent < 20, `${sent} chunks were taken although nobody reads`);
  const reading = (async () => {
    let bytes = 0;
    for await (const chunk of stream) bytes += chunk.length;
    return bytes;
  })();
  assert.deepEqual(streamStatus(await peer.next()), finishing);
  confirm(peer, call);
  assert.equal(await reading, 200 * 50_000);
  await source;
  await connection.close();
});

test("a daemon that does not read stops the writer, which goes on when it reads", async () => {
  const { peer, connection, stream, call } = await open("upload");
  peer.stream.pause();
  let written = 0;
  const writing = (async () => {
    for (; written < 20; written += 1) await stream.write(Buffer.alloc(streamDataLimit));
  })();
  for (let turns = 0; turns < 50; turns += 1) await turn();
  assert.ok(written < 3, `${written} writes were taken although nobody reads`);
  peer.stream.resume();
  for (let received = 0; received < 20; received += 1) {
    const { header, payload } = await peer.next();
    assert.deepEqual([header.type, header.status, payload.length], [MessageType.stream, MessageStatus.continue, streamDataLimit]);
  }
  await writing;
  const finished = stream.finish();
  assert.deepEqual(streamStatus(await peer.next()), finishing);
  confirm(peer, call);
  await finished;
  await connection.close();
});

test("a large write is cut into the packets that libvirt's own clients send", async () => {
  const { peer, connection, stream } = await open("upload");
  await stream.write(Buffer.alloc(streamDataLimit * 2 + 5));
  const sizes = [await peer.next(), await peer.next(), await peer.next()].map(({ payload }) => payload.length);
  assert.deepEqual(sizes, [streamDataLimit, streamDataLimit, 5]);
  await connection.close();
  await assert.rejects(stream.write(Buffer.from("x")), { kind: "closed" });
});

test("an upload that the daemon refuses fails the write and the finish, and the call is over", async () => {
  const { peer, connection, stream, call } = await open("upload");
  await stream.write(Buffer.from("x"));
  await peer.next();
  peer.error(call, "no space", MessageType.stream);
  await turn();
  await assert.rejects(stream.write(Buffer.from("y")), { message: "no space" });
  await assert.rejects(stream.finish(), { message: "no space" });
  await stream.abort();
  assert.equal(connection.state.kind, "open");
  await connection.close();
});

test("aborting a write that waits rejects with the reason and aborts the stream", async () => {
  const { peer, connection, stream, call } = await open("upload");
  peer.stream.pause();
  const abort = new AbortController();
  const writing = stream.write(Buffer.alloc(streamDataLimit * 4), { signal: abort.signal });
  await turn();
  const reason = new CancelledError();
  abort.abort(reason);
  await assert.rejects(writing, reason);
  peer.stream.resume();
  let last = await peer.next();
  while (last.header.status === MessageStatus.continue) last = await peer.next();
  assert.deepEqual(streamStatus(last), aborting);
  confirm(peer, call);
  await stream.abort();
  await connection.close();
});

test("a lost connection fails a reader and a writer", async () => {
  const { peer, connection, stream } = await open("download");
  const reading = assert.rejects(Array.fromAsync(stream), { kind: "connection-lost" });
  peer.stream.end();
  await reading;
  await assert.rejects(stream.finish(), { kind: "connection-lost" });
  await connection.close();
});

test("a confirmation that nobody asked for breaks the protocol", async () => {
  const { peer, connection, stream, call } = await open("download");
  confirm(peer, call);
  await assert.rejects(Array.fromAsync(stream), { kind: "protocol" });
  await connection.close();
});

test("a call that opens a stream and returns something gives both", async () => {
  const { peer, connection } = await openFaulty();
  const dom = { name: "a", uuid: "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", id: 1 };
  const opening = connection.remote.domainScreenshot({ dom, screen: 0, flags: 0 });
  peer.reply(await peer.next(), domainScreenshot, "image/png");
  const stream = await opening;
  assert.equal(stream.result, "image/png");
  await connection.close();
});
