import type { CallOutput, RouteName, routes, StreamName, UnaryName } from "@godwit/api";
import type { z } from "zod";

type Routes = typeof routes;
type PathNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}` ? Name | PathNames<Rest> : never;
type Parsed<R, K extends string> = R extends Record<K, infer S extends z.ZodType> ? z.output<S> : undefined;

/** A request as a handler gets it: validated, with defaults filled in. */
export interface ApiRequest<N extends RouteName> {
  readonly params: { readonly [Name in PathNames<Routes[N]["path"]>]: string };
  readonly query: Parsed<Routes[N], "query">;
  readonly body: Parsed<Routes[N], "body">;
  readonly idempotencyKey: { readonly key: string; readonly asked: string } | undefined;
  /** The id of the last event that a client saw before it connected again. */
  readonly lastEventId: string | undefined;
  /** Fires when the client is gone or the server stops. */
  readonly signal: AbortSignal;
}

export interface StreamEvent<T> {
  readonly id?: string;
  readonly data: T;
}

/** Answers may hold more than the contract says, never less; `undefined` members are left out as in JSON. */
export type Answer<T> = T extends readonly (infer Item)[]
  ? readonly Answer<Item>[]
  : T extends object
    ? { readonly [K in keyof T]: Answer<T[K]> }
    : T;

/** One handler for every operation of the contract. */
export type Handlers = {
  readonly [N in UnaryName]: (request: ApiRequest<N>) => Promise<Answer<CallOutput<N>>> | Answer<CallOutput<N>>;
} & {
  readonly [N in StreamName]: (request: ApiRequest<N>) => Promise<AsyncIterable<StreamEvent<Answer<CallOutput<N>>>>>;
};
