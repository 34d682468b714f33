import { z } from "zod";
import { didYouMean, type Path, type Problem } from "./problems.ts";
import { ClusterFile } from "./schema.ts";

type Issue = z.core.$ZodIssue;

/** What zod found, in words for whoever wrote the file. */
export function schemaProblems(error: z.ZodError, value: unknown): Problem[] {
  return error.issues.flatMap((issue) => toProblems(issue, value));
}

function toProblems(issue: Issue, root: unknown): Problem[] {
  const path = issue.path.filter((part) => typeof part !== "symbol");
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(path);
    return issue.keys.map((key) => ({
      path: [...path, key],
      text: `unknown key${didYouMean(key, known)}; known are ${known.join(", ")}`,
      atKey: true,
    }));
  }
  const value = valueAt(root, path);
  if (value === undefined) return [{ path, text: "is missing" }];
  return [{ path, text: `${expectation(issue)}, got ${describe(value)}${suggestion(issue, value)}` }];
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${typeNames[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return issue.values.length === 1 ? `expected ${String(issue.values[0])}` : `expected one of ${issue.values.map(String).join(", ")}`;
    case "too_small":
      return issue.origin === "string" ? "expected some text" : `expected at least ${issue.minimum}`;
    case "too_big":
      return issue.origin === "string" || issue.origin === "array"
        ? `expected at most ${issue.maximum} of them`
        : `expected at most ${issue.maximum}`;
    case "invalid_format":
    case "invalid_union":
    case "invalid_element":
    case "invalid_key":
    case "not_multiple_of":
    case "unrecognized_keys":
    case "custom":
      return issue.message;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  object: "keys with values",
  array: "a list",
  string: "a text",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
};

function suggestion(issue: Issue, value: unknown): string {
  return issue.code === "invalid_value" && typeof value === "string" ? didYouMean(value, issue.values.map(String)) : "";
}

function describe(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return `'${value.length > 60 ? `${value.slice(0, 60)}…` : value}'`;
  return typeof value === "object" ? "keys with values" : JSON.stringify(value);
}

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    return (value as Record<string | number, unknown>)[part];
  }, root);
}

/** The keys that the schema knows at a path. */
function keysAt(path: Path): string[] {
  let schema: unknown = ClusterFile;
  for (const part of path) {
    schema = unwrap(schema);
    if (schema instanceof z.ZodArray) schema = schema.element;
    else if (schema instanceof z.ZodObject) schema = schema.shape[part];
  }
  const found = unwrap(schema);
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

function unwrap(schema: unknown): unknown {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? unwrap(schema.unwrap()) : schema;
}
