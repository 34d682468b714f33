import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ApiError, Client, openApiDocument, parseServerSentEvents, routes } from "../src/index.ts";

function bytes(...parts: readonly string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });
}

describe("the OpenAPI document", () => {
  const document = openApiDocument("0.0.0") as {
    paths: Record<string, Record<string, { operationId: string }>>;
    components: { schemas: Record<string, unknown> };
  };

  it("has every operation once", () => {
    const ids = Object.values(document.paths).flatMap((path) => Object.values(path).map((operation) => operation.operationId));
    assert.deepEqual(ids.sort(), Object.keys(routes).sort());
  });

  it("refers only to schemas that it has", () => {
    const text = JSON.stringify(document);
    const wanted = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1] ?? ""));
    assert.deepEqual(
      [...wanted].filter((name) => !(name in document.components.schemas)),
      [],
    );
    assert.ok(wanted.has("Host") && wanted.has("Job"));
  });
});

describe("the client", () => {
  it("fills path, query, body, token and idempotency key in", async () => {
    const seen: [string, RequestInit][] = [];
    const client = new Client({
      baseUrl: "http://x",
      token: "secret",
      async fetch(url, init) {
        seen.push([url, init]);
        return new Response(JSON.stringify({ items: [] }));
      },
    });
    await client.call("migrationNetworkSet", {
      params: { host: "a/b" },
      body: { subnet: "10.0.0.0/8", newPriority: 2 },
      idempotencyKey: "k",
    });
    await Array.fromAsync(client.all("vmList", { query: { host: "a b" } }));
    assert.equal(seen[0]?.[0], "http://x/api/v1/hosts/a%2Fb/migration-networks");
    assert.deepEqual(seen[0]?.[1].headers, {
      accept: "application/json",
      "content-type": "application/json",
      authorization: "Bearer secret",
      "idempotency-key": "k",
    });
    assert.equal(seen[1]?.[0], "http://x/api/v1/vms?host=a+b");
  });

  it("follows cursors to the end", async () => {
    const pages = [{ items: [], next: "c" }, { items: [] }];
    const cursors: (string | null)[] = [];
    const client = new Client({
      baseUrl: "http://x",
      async fetch(url) {
        cursors.push(new URL(url).searchParams.get("cursor"));
        return new Response(JSON.stringify(pages.shift()));
      },
    });
    assert.deepEqual(await Array.fromAsync(client.all("hostList", {})), []);
    assert.deepEqual(cursors, [null, "c"]);
  });

  it("throws the server's problem, or says that there was none", async () => {
    const problem = { type: "about:blank", title: "Not found", status: 404, kind: "not-found", detail: "no host 'x'" };
    const answers = [new Response(JSON.stringify(problem), { status: 404 }), new Response("<html>", { status: 502 })];
    const client = new Client({ baseUrl: "http://x", fetch: async () => answers.shift() ?? new Response() });
    await assert.rejects(
      client.call("hostGet", { params: { host: "x" } }),
      (error) => error instanceof ApiError && error.problem.kind === "not-found",
    );
    await assert.rejects(client.call("hostGet", { params: { host: "x" } }), /answered 502/);
  });
});

describe("server-sent events", () => {
  it("are read however the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/.test(text)),
          { maxLength: 5 },
        ),
        fc.nat(40),
        async (texts, at) => {
          const wire = new TextEncoder().encode(texts.map((text) => `: beat\n\nid: 7\ndata: ${text}\n\n`).join(""));
          const cut = Math.min(at, wire.length);
          const stream = new ReadableStream<Uint8Array>({
            start(controller) {
              controller.enqueue(wire.slice(0, cut));
              controller.enqueue(wire.slice(cut));
              controller.close();
            },
          });
          assert.deepEqual(
            (await Array.fromAsync(parseServerSentEvents(stream))).map((event) => event.data),
            texts,
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  it("carry event names and lines", async () => {
    assert.deepEqual(await Array.fromAsync(parseServerSentEvents(bytes("event: job\nda", "ta: a\ndata: b\n\n"))), [
      { event: "job", data: "a\nb" },
    ]);
  });
});
