import { STATUS_CODES } from "node:http";
import type { Problem } from "@godwit/api";
import { describeError, GodwitError, isCancelled } from "@godwit/core";
import { EngineError, type EngineErrorKind, ServerStopping, StoreError, type StoreErrorKind } from "@godwit/engine";
import { z } from "zod";

/** The HTTP layer's own refusals; `kind` is what a client may match on. */
export class HttpError extends GodwitError {
  override readonly name = "HttpError";
  readonly status: number;
  constructor(status: number, kind: string, message: string) {
    super(kind, message);
    this.status = status;
  }
}

const engineStatus: Readonly<Record<EngineErrorKind, number>> = {
  "not-found": 404,
  ambiguous: 409,
  conflict: 409,
  invalid: 400,
  refused: 422,
  "host-lost": 503,
  hypervisor: 502,
  timeout: 504,
  interrupted: 503,
};

const storeStatus: Readonly<Record<StoreErrorKind, number>> = {
  conflict: 409,
  "lease-lost": 409,
  full: 507,
  locked: 503,
  "newer-schema": 503,
  "not-ours": 503,
  corrupt: 503,
  io: 503,
  closed: 503,
};

/** Fastify's own errors carry a status and a code. */
interface FrameworkError extends Error {
  readonly statusCode: number;
  readonly code: string;
}

function isFrameworkError(error: unknown): error is FrameworkError {
  return error instanceof Error && "statusCode" in error && typeof error.statusCode === "number" && "code" in error;
}

interface Verdict {
  readonly status: number;
  readonly kind: string;
  readonly detail?: string;
  readonly extra?: Partial<Problem>;
}

function judge(error: unknown): Verdict {
  if (error instanceof EngineError) {
    const checks = error.checks.length > 0 ? { checks: [...error.checks] } : {};
    return { status: engineStatus[error.kind], kind: error.kind, detail: describeError(error), extra: { ...contextOf(error), ...checks } };
  }
  if (error instanceof StoreError) {
    const kind = error.kind === "conflict" ? "conflict" : "store";
    return { status: storeStatus[error.kind], kind, detail: describeError(error), extra: contextOf(error) };
  }
  if (error instanceof HttpError) return { status: error.status, kind: error.kind, detail: error.message };
  if (error instanceof z.ZodError) return invalid(error);
  if (error instanceof ServerStopping) return { status: 503, kind: "stopping", detail: "the server is stopping; ask again in a moment" };
  if (isCancelled(error)) return { status: 503, kind: "cancelled", detail: describeError(error) };
  if (isFrameworkError(error) && error.statusCode < 500) {
    return { status: error.statusCode, kind: error.statusCode === 413 ? "too-large" : "invalid", detail: error.message };
  }
  // What an unforeseen error says is for the log, not for a client.
  return { status: 500, kind: "internal", detail: "an error in Godwit itself; the server's log has it under this request" };
}

function contextOf(error: GodwitError): Partial<Problem> {
  const context = Object.fromEntries(Object.entries(error.context).filter(([, value]) => value !== undefined));
  return Object.keys(context).length > 0 ? { context } : {};
}

function invalid(error: z.ZodError): Verdict {
  const issues = error.issues.slice(0, 20).map((issue) => `${issue.path.map(String).join(".") || "(all)"}: ${issue.message}`);
  return { status: 400, kind: "invalid", detail: issues.join("; "), extra: { context: { issues } } };
}

/** Problem details (RFC 9457) for whatever was thrown. */
export function problemOf(error: unknown, requestId: string): Problem {
  const { status, kind, detail, extra } = judge(error);
  return {
    type: `urn:godwit:problem:${kind}`,
    title: STATUS_CODES[status] ?? "Error",
    status,
    kind,
    ...(detail === undefined ? {} : { detail }),
    instance: `urn:godwit:request:${requestId}`,
    ...extra,
  };
}
