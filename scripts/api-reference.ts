/**
 * Writes the reference part of docs/api.md from the OpenAPI document, below its mark; `npm run generate`
 * runs it, and a test says when that was forgotten.
 */
import { openApiDocument } from "@godwit/api";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./run.ts";

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
}

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const mark = "<!-- What follows is made by `npm run generate` from the OpenAPI document. -->\n";

/** A schema as a TypeScript reader would write it, on one line. */
function typeText(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split("/").at(-1) ?? "";
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(typeText).join(" | ");
  if (schema.allOf) return schema.allOf.map(typeText).join(" & ");
  if (schema.type === "array") {
    const item = typeText(schema.items ?? {});
    return /[ |&]/.test(item) && !item.startsWith("{") ? `(${item})[]` : `${item}[]`;
  }
  if (schema.type === "object") return objectText(schema);
  if (schema.format === "date-time") return "time";
  return typeof schema.type === "string" ? schema.type : (schema.type?.join(" | ") ?? "any");
}

function members(schema: Schema): string[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, value]) => `${name}${required.has(name) ? "" : "?"}: ${typeText(value)}`);
}

function objectText(schema: Schema): string {
  if (schema.properties) return `{ ${members(schema).join("; ")} }`;
  return typeof schema.additionalProperties === "object" ? `{ [key]: ${typeText(schema.additionalProperties)} }` : "object";
}

/** What an operation answers, such as `Job`, or `Host[]` for a page of them. */
function answerText(content: Content | undefined): string {
  const [media, body] = Object.entries(content?.content ?? {})[0] ?? [];
  if (media === undefined || !body) return "–";
  const { properties } = body.schema;
  const page = properties?.["items"] && properties["next"] ? `page of ${typeText(properties["items"]).replace(/\[\]$/, "")}` : undefined;
  return `${code(page ?? typeText(body.schema))}${media === "text/event-stream" ? " as events" : ""}`;
}

/** In a table a bar would end the cell. */
const code = (text: string): string => `\`${text.replaceAll("|", "\\|")}\``;

function operationRow(method: string, path: string, operation: Operation): string {
  const [status = "", answer] = Object.entries(operation.responses).find(([key]) => key !== "default") ?? [];
  const query = operation.parameters
    .filter((one) => one.in === "query")
    .map((one) => `${code(`?${one.name}`)}${one.required ? " (required)" : ""}`);
  const body = Object.values(operation.requestBody?.content ?? {}).map(({ schema }) => code(typeText(schema)));
  const input = [...body, ...query].join(" ");
  return `| ${code(`${method.toUpperCase()} ${path}`)} | ${operation.summary} | ${input || "–"} | ${status} ${answerText(answer)} |`;
}

/** The operations by tag, then the schemas that they name. */
export function apiReference(): string {
  // The version is the server's to say.
  const document = openApiDocument("") as unknown as Document;
  const { paths, components } = document;
  const text = JSON.stringify(document);
  const byTag = new Map<string, string[]>();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), operationRow(method, path.replace("/api/v1", ""), operation)]);
    }
  }
  const head = "| operation | what | takes | answers |\n| --- | --- | --- | --- |";
  const operations = [...byTag].map(([tag, rows]) => `### ${tag}\n${head}\n${rows.join("\n")}\n`);
  const named = Object.entries(components.schemas).filter(([name]) => text.includes(`"#/components/schemas/${name}"`));
  const schemas = named.map(([name, schema]) =>
    schema.properties
      ? `${name} {\n${members(schema)
          .map((line) => `  ${line}\n`)
          .join("")}}`
      : `${name} = ${typeText(schema)}`,
  );
  return `${mark}\n## Operations\n${operations.join("\n")}\n## Schemas\n\`time\` is RFC 3339 in UTC; sizes are bytes.\n\`\`\`\n${schemas.join("\n\n")}\n\`\`\`\n`;
}

export const apiPage: string = join(root, "docs/api.md");

/** The page with its reference made anew; what stands above the mark is written by hand. */
export function renewed(page: string): string {
  const at = page.indexOf(mark);
  if (at < 0) throw new Error(`${apiPage} has lost the line that its reference begins with: ${mark}`);
  return page.slice(0, at) + apiReference();
}

if (import.meta.main) writeFileSync(apiPage, renewed(readFileSync(apiPage, "utf8")));
