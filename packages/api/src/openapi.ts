import { z } from "zod";
import { Problem } from "./common.ts";
import * as apply from "./apply.ts";
import * as common from "./common.ts";
import * as host from "./host.ts";
import * as job from "./job.ts";
import * as migration from "./migration.ts";
import * as network from "./network.ts";
import type { Route } from "./route.ts";
import { routes } from "./routes.ts";
import * as system from "./system.ts";
import * as vm from "./vm.ts";

type JsonSchema = Record<string, unknown>;

const at = (name: string): string => `#/components/schemas/${name}`;

/** The schemas that get a name of their own in the document; everything else is written where it is used. */
function namedSchemas(): Map<z.ZodType, string> {
  const modules = [apply, common, host, job, migration, network, system, vm];
  const named = new Map<z.ZodType, string>();
  for (const [name, value] of modules.flatMap((module) => Object.entries<unknown>(module))) {
    if (value instanceof z.ZodObject || value instanceof z.ZodEnum) named.set(value, name);
  }
  return named;
}

/** Converts schemas that may refer to named ones; `io` says whether defaults are filled in already. */
function converter(io: "input" | "output"): { components: Record<string, JsonSchema>; use(name: string, schema: z.ZodType): JsonSchema } {
  const named = namedSchemas();
  const registry = z.registry<{ id: string }>();
  for (const [schema, id] of named) registry.add(schema, { id });
  const convert = (): Record<string, JsonSchema> => {
    const { schemas } = z.toJSONSchema(registry, { io, uri: at, unrepresentable: "any" });
    return Object.fromEntries(
      Object.entries(schemas).map(([id, schema]) => {
        const bare: JsonSchema = { ...schema };
        delete bare["$schema"];
        delete bare["$id"];
        return [id, bare];
      }),
    );
  };
  return {
    components: convert(),
    use(name, schema) {
      const known = named.get(schema);
      if (known !== undefined) return { $ref: at(known) };
      registry.add(schema, { id: name });
      const converted = convert()[name] ?? {};
      registry.remove(schema);
      return converted;
    },
  };
}

function parameters(definition: Route, inputs: ReturnType<typeof converter>, operationId: string): JsonSchema[] {
  const inPath = [...definition.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
    description: `Id or name of the ${name}.`,
  }));
  const query = definition.query ? inputs.use(`${operationId}Query`, definition.query) : {};
  const required = new Set((query["required"] ?? []) as string[]);
  const inQuery = Object.entries((query["properties"] ?? {}) as Record<string, JsonSchema>).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.has(name),
    schema,
  }));
  const key = { name: "Idempotency-Key", in: "header", required: false, schema: { type: "string", maxLength: 200 } };
  return [...inPath, ...inQuery, ...(definition.startsJob ? [key] : [])];
}

function operation(operationId: string, definition: Route, io: Record<"inputs" | "outputs", ReturnType<typeof converter>>): JsonSchema {
  const problem = {
    description: "Problem details (RFC 9457)",
    content: { "application/problem+json": { schema: { $ref: at("Problem") } } },
  };
  const mediaType = definition.streams ? "text/event-stream" : "application/json";
  const answer = definition.response
    ? {
        description: definition.summary,
        content: { [mediaType]: { schema: io.outputs.use(`${operationId}Response`, definition.response) } },
      }
    : { description: definition.summary };
  const body = definition.body
    ? {
        requestBody: {
          required: true,
          content: { "application/json": { schema: io.inputs.use(`${operationId}Request`, definition.body) } },
        },
      }
    : {};
  return {
    operationId,
    summary: definition.summary,
    tags: [definition.tag],
    parameters: parameters(definition, io.inputs, operationId),
    ...body,
    responses: { [definition.status]: answer, default: problem },
  };
}

/** The API as OpenAPI 3.1, made from the very schemas that validate. */
export function openApiDocument(version: string): JsonSchema {
  const io = { inputs: converter("input"), outputs: converter("output") };
  const paths: Record<string, JsonSchema> = {};
  for (const [operationId, definition] of Object.entries<Route>(routes)) {
    const path = (paths[`/api/v1${definition.path}`] ??= {});
    path[definition.method.toLowerCase()] = operation(operationId, definition, io);
  }
  const requests = new Set<string>(["HostAdd", "MigrationRequest", "ApplyRequest", "NetworkEdit", "LiveMigrationEdit", "VmStop"]);
  const schemas = Object.fromEntries(
    Object.keys(io.outputs.components).map((name) => [name, (requests.has(name) ? io.inputs : io.outputs).components[name]]),
  );
  return {
    openapi: "3.1.0",
    info: { title: "Godwit", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    servers: [{ url: "/" }],
    security: [{}, { token: [] }],
    paths,
    components: {
      schemas: { ...schemas, Problem: schemas["Problem"] ?? z.toJSONSchema(Problem) },
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}
