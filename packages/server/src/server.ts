import { createServer, type RequestListener, type Server } from "node:http";
import { openApiDocument } from "@godwit/api";
import type { JobKind } from "@godwit/engine";
import { once } from "node:events";
import { join } from "node:path";
import type { Logger } from "pino";
import { Composition } from "./compose.ts";
import type { ServerConfig } from "./config.ts";
import { Changes } from "./handlers/changes.ts";
import { handlersOf } from "./handlers/handlers.ts";
import { type Entrance, Entrances } from "./http/access.ts";
import { App } from "./http/app.ts";
import { listenTcp, readToken } from "./listen/tcp.ts";
import { listenUnix } from "./listen/unix.ts";
import { Metrics } from "./metrics.ts";
import { SqliteStore } from "./store/sqlite/store.ts";

export interface ServerOptions {
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly version: string;
  /** Besides those of the engine; for tests. */
  readonly kinds?: readonly JobKind[];
}

/** A running server. Disposing ends it within 5 s and leaves unfinished jobs to the next one. */
export interface GodwitServer extends AsyncDisposable {
  readonly socket: string;
  /** `http://127.0.0.1:8080`, when it listens on TCP. */
  readonly url: string | undefined;
}

const closeGraceMs = 1000;

/** Starts the server, and resolves when it answers. Rejects with a `ConfigError` or `StoreError`; nothing stays behind then. */
export async function startServer({ config, log, version, kinds = [] }: ServerOptions): Promise<GodwitServer> {
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await SqliteStore.open(join(config.stateDir, "godwit.db")));
  const composition = stack.use(
    new Composition({ store, log, doctor: config, captures: config.captures, recoveries: config.recoveries, kinds }),
  );
  const { services } = composition;
  const stop = new AbortController();
  const metrics = new Metrics(services);
  const changes = new Changes(services, log);
  const followers = Promise.all([changes.run({ signal: stop.signal }), metrics.run(services, { signal: stop.signal })]);
  stack.defer(async () => {
    stop.abort();
    await followers;
  });
  await composition.start();

  const entrances = new Entrances();
  const startedAt = new Date().toISOString();
  const app = new App({
    handlers: handlersOf(services, changes, { version, startedAt }),
    log,
    entrance: (request) => entrances.of(request),
    openApi: () => openApiDocument(version),
    metrics: () => metrics.text(),
  });
  await app.fastify.ready();
  const answer: RequestListener = (request, response) => app.fastify.routing(request, response);
  const unix = stack.adopt(newServer(answer), close);
  unix.on("connection", (socket) => entrances.admit(socket, { kind: "unix" }));
  await listenUnix(unix, config.socket);
  const url = config.listen && (await listenOnTcp(stack.adopt(newServer(answer), close), config, entrances));
  stack.defer(() => app.stop());
  const running = stack.move();
  return { socket: config.socket, url, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function listenOnTcp(server: Server, config: ServerConfig, entrances: Entrances): Promise<string | undefined> {
  if (!config.listen) return undefined;
  const token = readToken(config.tokenFile);
  const hosts: string[] = [];
  const entrance: Entrance = { kind: "tcp", token, hosts };
  server.on("connection", (socket) => entrances.admit(socket, entrance));
  hosts.push(...(await listenTcp(server, config.listen)));
  return `http://${hosts[0]}`;
}

function newServer(answer: RequestListener): Server {
  return createServer(
    { requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 65_000, connectionsCheckingInterval: 5000 },
    answer,
  );
}

/** Lets requests end for a moment, then closes their connections. */
async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
  await closed;
  clearTimeout(timer);
}
