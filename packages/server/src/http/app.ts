import { hash } from "node:crypto";
import { type Route, type RouteName, routes } from "@godwit/api";
import { anySignal, CancelledError, canonicalJson } from "@godwit/core";
import { ServerStopping } from "@godwit/engine";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from "fastify";
import type { Logger } from "pino";
import { z } from "zod";
import { checkAccess, type Entrance } from "./access.ts";
import type { ApiRequest, Handlers, StreamEvent } from "./contract.ts";
import { sendEvents } from "./event-stream.ts";
import { HttpError, problemOf } from "./problems.ts";

export interface AppOptions {
  readonly handlers: Handlers;
  readonly log: Logger;
  /** Tells by which listener a request came; throws when by none. */
  readonly entrance: (request: FastifyRequest["raw"]) => Entrance;
  readonly openApi: () => unknown;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  /** Also validate every answer; for tests. */
  readonly checkAnswers?: boolean;
  readonly heartbeatMs?: number;
  readonly stalledMs?: number;
}

/** Above the largest document that `apply` takes. */
const bodyLimit = 2 << 20;
const publicPaths = new Set(["/healthz"]);

type AnyHandler = (request: ApiRequest<RouteName>) => unknown;

/** The HTTP API: every operation of the contract's table, and nothing that the table does not have but health, metrics and the document. */
export class App {
  readonly fastify: FastifyInstance;
  readonly #options: AppOptions;
  readonly #stop = new AbortController();

  constructor(options: AppOptions) {
    this.#options = options;
    const { log } = options;
    this.fastify = Fastify({
      loggerInstance: log,
      logController: new LogController({ disableRequestLogging: true }),
      bodyLimit,
      requestTimeout: 30_000,
      forceCloseConnections: false,
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: 300 },
      genReqId: () => crypto.randomUUID(),
    }) as unknown as FastifyInstance;
    this.fastify.removeContentTypeParser("text/plain");
    this.fastify.addHook("onRequest", (request, reply, done) => {
      checkAccess(options.entrance(request.raw), request.raw, { needsToken: !publicPaths.has(request.url) });
      void reply.header("x-content-type-options", "nosniff").header("x-request-id", request.id);
      done();
    });
    this.fastify.addHook("onResponse", (request, reply, done) => {
      const fields = {
        request: request.id,
        method: request.method,
        path: request.url.split("?")[0],
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      };
      log[request.method === "GET" ? "debug" : "info"](fields, "request");
      done();
    });
    this.fastify.setErrorHandler((error, request, reply) => this.#sendProblem(error, request, reply));
    this.fastify.setNotFoundHandler((request, reply) =>
      this.#sendProblem(new HttpError(404, "not-found", `there is no ${request.method} ${request.url.split("?")[0]}`), request, reply),
    );
    this.#registerSpecials();
    for (const name of Object.keys(routes) as RouteName[]) this.#register(name, routes[name]);
  }

  /** Ends every event stream and whatever waits; later requests are refused with 503. */
  stop(): void {
    this.#stop.abort(new ServerStopping());
  }

  #registerSpecials(): void {
    const { openApi, metrics } = this.#options;
    let document: unknown;
    this.fastify.get("/healthz", () => ({ status: "ok" }));
    this.fastify.get("/api/v1/openapi.json", () => (document ??= openApi()));
    this.fastify.get("/metrics", async (_request, reply) => {
      const { contentType, text } = await metrics();
      return reply.type(contentType).send(text);
    });
  }

  #register(name: RouteName, definition: Route): void {
    const handler = this.#options.handlers[name] as AnyHandler;
    this.fastify.route({
      method: definition.method,
      url: `/api/v1${definition.path.replace(/\{(\w+)\}/g, ":$1")}`,
      handler: async (request, reply) => {
        this.#stop.signal.throwIfAborted();
        const input = this.#parse(definition, request, reply);
        if (definition.streams) {
          const events = (await handler(input)) as AsyncIterable<StreamEvent<unknown>>;
          return await this.#stream(events, input.signal, reply);
        }
        const answer = await handler(input);
        if (this.#options.checkAnswers) checkAnswer(definition, answer);
        return reply.code(definition.status).send(definition.response ? answer : undefined);
      },
    });
  }

  #parse(definition: Route, request: FastifyRequest, reply: FastifyReply): ApiRequest<RouteName> {
    const gone = new AbortController();
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) gone.abort(new CancelledError("the client went away"));
    });
    const lastEventId = request.headers["last-event-id"];
    const query = parse(definition.query, request.query);
    const body = parse(definition.body, request.body ?? {});
    const key = definition.startsJob ? idempotencyKey(request.headers["idempotency-key"]) : undefined;
    const asked = (): string => hash("sha256", canonicalJson([definition.method, definition.path, request.params, query, body]));
    return {
      params: request.params as never,
      query: query as never,
      body: body as never,
      idempotencyKey: key === undefined ? undefined : { key, asked: asked() },
      lastEventId: typeof lastEventId === "string" ? lastEventId : undefined,
      signal: anySignal(gone.signal, this.#stop.signal),
    };
  }

  async #stream(events: AsyncIterable<StreamEvent<unknown>>, signal: AbortSignal, reply: FastifyReply): Promise<FastifyReply> {
    reply.hijack();
    const { heartbeatMs = 15_000, stalledMs = 60_000, log } = this.#options;
    try {
      await sendEvents(reply.raw, events, { heartbeatMs, stalledMs, signal });
    } catch (error) {
      log.warn({ request: reply.request.id, err: error }, "an event stream broke");
      reply.raw.destroy();
    }
    return reply;
  }

  #sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = problemOf(error, request.id);
    if (problem.status === 500)
      this.#options.log.error({ request: request.id, path: request.url.split("?")[0], err: error }, "an unforeseen error");
    if (problem.status === 401) void reply.header("www-authenticate", "Bearer");
    if (problem.status === 503) void reply.header("retry-after", "1");
    return reply.code(problem.status).type("application/problem+json").send(problem);
  }
}

/** Unknown members are refused: a misspelt one must not be taken for an absent one. */
function parse(schema: z.ZodType | undefined, value: unknown): unknown {
  if (!schema) return undefined;
  return (schema instanceof z.ZodObject ? schema.strict() : schema).parse(value);
}

function checkAnswer(definition: Route, answer: unknown): void {
  if (!definition.response) return;
  const text = JSON.stringify(answer);
  const { success, error } = definition.response.safeParse(JSON.parse(text));
  if (!success) throw new Error(`the answer of ${definition.method} ${definition.path} is not as the contract says: ${error.message}`);
}

function idempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === "string" && /^[\x21-\x7e]{1,200}$/.test(header)) return header;
  throw new HttpError(400, "invalid", "Idempotency-Key must be 1 to 200 visible ASCII characters");
}
