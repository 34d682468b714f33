import type { z } from "zod";

/** One operation of the HTTP API, from which the server validates, the client is typed and OpenAPI is made. */
export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Under `/api/v1`, with `{name}` for path parameters. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  readonly response?: z.ZodType;
  readonly status: 200 | 201 | 202 | 204;
  /** It starts a job: takes `Idempotency-Key`, answers 202 with the job. */
  readonly startsJob?: true;
  /** It answers with server-sent events of `response`. */
  readonly streams?: true;
}

export function route<const R extends Omit<Route, "status"> & { readonly status?: Route["status"] }>(
  definition: R,
): R & { readonly status: Route["status"] } {
  return { ...definition, status: definition.status ?? (definition.response ? 200 : 204) };
}
