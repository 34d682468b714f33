import type { z } from "zod";
import { Problem } from "./common.ts";
import type { Route } from "./route.ts";
import { type RouteName, routes } from "./routes.ts";
import { parseServerSentEvents } from "./server-sent-events.ts";

type Routes = typeof routes;
type PathNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}` ? Name | PathNames<Rest> : never;
type Field<R, K extends string, Name extends string, Side extends "input" | "output"> =
  R extends Record<K, infer S extends z.ZodType> ? { readonly [N in Name]: Side extends "input" ? z.input<S> : z.output<S> } : unknown;
type Params<P extends string> = [PathNames<P>] extends [never] ? unknown : { readonly params: { readonly [N in PathNames<P>]: string } };
/** `query` may be left out when nothing in it is required. */
type Query<R> = R extends { readonly query: infer S extends z.ZodType }
  ? Partial<z.input<S>> extends z.input<S>
    ? { readonly query?: z.input<S> }
    : { readonly query: z.input<S> }
  : unknown;

/** What an operation takes. */
export type CallInput<N extends RouteName> = Params<Routes[N]["path"]> &
  Query<Routes[N]> &
  Field<Routes[N], "body", "body", "input"> & {
    readonly signal?: AbortSignal | undefined;
    /** For operations that start a job: the same key never starts a second one. */
    readonly idempotencyKey?: string | undefined;
  };

/** What an operation answers. */
export type CallOutput<N extends RouteName> = Routes[N] extends { readonly response: infer S extends z.ZodType } ? z.output<S> : undefined;

export type StreamName = { [N in RouteName]: Routes[N] extends { readonly streams: true } ? N : never }[RouteName];
export type UnaryName = Exclude<RouteName, StreamName>;

/** The server said no. `problem.kind` is stable; `problem.checks` are the reasons of a refusal. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

/** What is needed of a `Response`: its class alone takes long to load where nothing else does. */
export interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly body: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | null;
  text(): Promise<string>;
}

export interface ClientOptions {
  /** Such as `http://127.0.0.1:8080`; the path `/api/v1` is added. */
  readonly baseUrl: string;
  /** The platform's `fetch`, or one that dials a Unix socket. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Answer>;
  readonly token?: string | undefined;
}

interface LooseInput {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  readonly idempotencyKey?: string | undefined;
}

/** A typed client of the whole API. Every method rejects with {@link ApiError}, or with what `fetch` threw. */
export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  async call<N extends UnaryName>(name: N, input: CallInput<N>): Promise<CallOutput<N>> {
    const definition: Route = routes[name];
    const response = await this.#send(definition, input);
    const answer = definition.response ? definition.response.parse(JSON.parse(await response.text())) : undefined;
    return answer as CallOutput<N>;
  }

  /** The operation's events, until the server ends the stream or `signal` fires. */
  async *stream<N extends StreamName>(name: N, input: CallInput<N>): AsyncGenerator<CallOutput<N>, void, undefined> {
    const definition: Route = routes[name];
    const response = await this.#send(definition, input);
    if (!response.body) return;
    for await (const event of parseServerSentEvents(response.body)) {
      if (event.data !== "") yield definition.response?.parse(JSON.parse(event.data)) as CallOutput<N>;
    }
  }

  /** Every item of a paged listing. */
  async *all<N extends UnaryName>(
    name: N,
    input: CallInput<N>,
  ): AsyncGenerator<CallOutput<N> extends { items: (infer Item)[] } ? Item : never, void, undefined> {
    let cursor: string | undefined;
    do {
      const query = { ...(input as LooseInput).query, ...(cursor === undefined ? {} : { cursor }) };
      const page = (await this.call(name, { ...input, query })) as { items: never[]; next?: string };
      yield* page.items;
      cursor = page.next;
    } while (cursor !== undefined);
  }

  async #send(definition: Route, input: LooseInput): Promise<Answer> {
    const path = definition.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(input.params?.[name] ?? ""));
    const url = new URL(`/api/v1${path}`, this.#options.baseUrl);
    for (const [name, value] of Object.entries(input.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = { accept: definition.streams ? "text/event-stream" : "application/json" };
    if (input.body !== undefined) headers["content-type"] = "application/json";
    if (this.#options.token !== undefined) headers["authorization"] = `Bearer ${this.#options.token}`;
    if (input.idempotencyKey !== undefined) headers["idempotency-key"] = input.idempotencyKey;
    const response = await this.#options.fetch(url.href, {
      method: definition.method,
      headers,
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      ...(input.signal ? { signal: input.signal } : {}),
    });
    if (!response.ok) throw new ApiError(await problemOf(response));
    return response;
  }
}

async function problemOf(response: Answer): Promise<Problem> {
  const text = await response.text();
  try {
    return Problem.parse(JSON.parse(text));
  } catch {
    const title = `the server answered ${response.status} without problem details`;
    return { type: "about:blank", title, status: response.status, kind: "protocol", detail: `${title}: ${text.slice(0, 200)}` };
  }
}
