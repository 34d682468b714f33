import assert from "node:assert/strict";
import { generateKeyPairSync, KeyObject, randomBytes } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, it } from "node:test";
import ssh2, { type Channel, type Client, type Connection } from "ssh2";
import { carryMuch, importKeysOnce } from "../src/ssh/throughput.ts";

interface Inner {
  readonly _protocol: { readonly _decipher: { readonly _decipherKey: unknown }; readonly _cipher: { readonly _encKey: unknown } };
}

/** An SSH server that echoes what it gets through a forwarding. */
async function startEcho(): Promise<AsyncDisposable & { readonly port: number; rekey(): void }> {
  const clients = new Set<Connection>();
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const hostKeys = [privateKey.export({ type: "pkcs1", format: "pem" })];
  const ssh = new ssh2.Server({ hostKeys }, (client) => {
    clients.add(client);
    client.on("authentication", (context) => context.accept());
    client.on("error", () => undefined);
    client.on("tcpip", (accept) => {
      const channel = accept();
      channel.pipe(channel);
    });
  });
  const server = createServer((socket) => ssh.injectSocket(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    rekey: () => clients.forEach((client) => client.rekey()),
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

describe("an SSH session that carries disks", () => {
  it("imports its keys once, again after a new key exchange, and carries every byte", async () => {
    await using server = await startEcho();
    const client = new ssh2.Client();
    importKeysOnce(client);
    const socket = connect(server.port, "127.0.0.1");
    client.connect({ sock: socket, username: "root", password: "any", algorithms: { cipher: ["aes128-gcm@openssh.com"] } });
    carryMuch(socket);
    await once(client, "ready");
    assertImported(client);
    const sent = randomBytes(5 << 20);
    assert.ok((await echoed(client, sent)).equals(sent));
    const again = once(client, "handshake");
    server.rekey();
    await again;
    assertImported(client);
    assert.ok((await echoed(client, sent)).equals(sent));
    client.end();
    await once(client, "close");
  });

  it("leaves alone what keeps its keys elsewhere", () => {
    for (const inner of [undefined, {}, { _decipher: { _decipherKey: "text" }, _cipher: {} }]) {
      const client = Object.assign(new EventEmitter(), { _protocol: structuredClone(inner) });
      importKeysOnce(client as unknown as Client);
      client.emit("handshake");
      assert.deepEqual(client._protocol, inner);
    }
  });

  it("writes what belongs together in one call, in order", async () => {
    const calls: string[][] = [];
    const socket = new Duplex({
      read: () => undefined,
      writev(chunks, done) {
        calls.push(chunks.map(({ chunk }) => String(chunk)));
        done();
      },
    });
    carryMuch(socket);
    for (const part of ["length", "content", "tag"]) socket.write(Buffer.from(part));
    await new Promise(setImmediate);
    socket.write(Buffer.from("next"));
    await new Promise(setImmediate);
    assert.deepEqual(
      calls.map((parts) => parts.join(" ")),
      ["length content tag", "next"],
    );
  });
});

function assertImported(client: Client): void {
  const { _protocol: inner } = client as unknown as Inner;
  assert.ok(inner._decipher._decipherKey instanceof KeyObject);
  assert.ok(inner._cipher._encKey instanceof KeyObject);
}

async function echoed(client: Client, bytes: Buffer): Promise<Buffer> {
  const channel = await new Promise<Channel>((resolve, reject) =>
    client.forwardOut("127.0.0.1", 0, "127.0.0.1", 1, (error, opened) => (error ? reject(error) : resolve(opened))),
  );
  channel.end(bytes);
  return await buffer(channel);
}
