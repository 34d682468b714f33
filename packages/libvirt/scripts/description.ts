/**
 * Reads `src/protocol/description/*.rpc`, our description of libvirt's programs. One declaration a line, `#` starts a comment:
 *
 *   program NAME NUMBER version VERSION
 *   uses PROGRAM                                  its structs may be named here
 *   limit NAME = COUNT                            the most elements of a list, or bytes
 *   enum NAME (word = number, …)
 *   struct NAME (FIELDS)
 *   union NAME (NUMBER word: TYPE, …)             an i32 that says which one follows
 *   call NUMBER NAME ARGUMENTS [-> RESULT] [download | upload | duplex] [since VERSION]
 *   skip NUMBER NAME                              a call that gets no stub; a comment says why
 *   event NUMBER NAME MESSAGE [since VERSION]     ARGUMENTS, RESULT, MESSAGE: `(FIELDS)` or the name of a struct
 *
 * FIELDS are `name: TYPE, …`. A TYPE is `i32 u32 i64 u64 f64 string uuid`, a declared name, `bytes[N]`, `bytes[<=N]`,
 * `chars[<=N]` (bytes that are sent as one XDR int each), `cstring[N]`, `cstring[<=N]` (text in such chars, ended by NUL), then any
 * `?` (may be null) or `[<=N]` (a list). N is a number or the name of a limit.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Type =
  | { readonly kind: "i32" | "u32" | "i64" | "u64" | "f64" | "string" | "uuid" }
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "bytes" | "chars" | "cstring"; readonly size: number; readonly fixed: boolean }
  | { readonly kind: "optional"; readonly of: Type }
  | { readonly kind: "list"; readonly of: Type; readonly max: number };

export interface Field {
  readonly name: string;
  readonly type: Type;
}
/** The fields, or the name of the struct that has them. */
export type Shape = { readonly fields: readonly Field[] } | { readonly struct: string };

export interface Struct {
  readonly name: string;
  readonly fields: readonly Field[];
}
export interface Enum {
  readonly name: string;
  readonly values: readonly { readonly name: string; readonly value: number }[];
}
export interface Union {
  readonly name: string;
  readonly cases: readonly { readonly tag: number; readonly name: string; readonly type: Type }[];
}
export interface Call {
  readonly number: number;
  readonly name: string;
  readonly args: Shape;
  readonly result: Shape;
  readonly stream: "download" | "upload" | "duplex" | undefined;
  readonly since: string | undefined;
}
/** A call of the protocol without a stub. */
export interface Skipped {
  readonly number: number;
  readonly name: string;
}
export interface Event {
  readonly number: number;
  readonly name: string;
  readonly message: Shape;
  readonly since: string | undefined;
}
export interface Program {
  readonly name: string;
  readonly number: number;
  readonly version: number;
  readonly uses: readonly string[];
  readonly enums: readonly Enum[];
  readonly structs: readonly Struct[];
  readonly unions: readonly Union[];
  readonly calls: readonly Call[];
  readonly skipped: readonly Skipped[];
  readonly events: readonly Event[];
}

const primitives = ["i32", "u32", "i64", "u64", "f64", "string", "uuid"] as const;
const isPrimitive = (word: string): word is (typeof primitives)[number] => (primitives as readonly string[]).includes(word);
export const noFields: Shape = { fields: [] };

class Reader {
  readonly limits = new Map<string, number>();

  size(text: string): number {
    const size = /^\d+$/.test(text) ? Number(text) : this.limits.get(text);
    if (size === undefined) throw new Error(`unknown limit "${text}"`);
    return size;
  }

  type(text: string): Type {
    if (text.endsWith("?")) return { kind: "optional", of: this.type(text.slice(0, -1)) };
    const sized = /^(.+)\[(<=)?(\w+)\]$/.exec(text);
    if (!sized) return isPrimitive(text) ? { kind: text } : { kind: "named", name: text };
    const [, of = "", most, count = ""] = sized;
    const size = this.size(count);
    if (of === "bytes" || of === "chars" || of === "cstring") return { kind: of, size, fixed: most === undefined };
    if (most === undefined) throw new Error(`lists of a fixed length do not exist: ${text}`);
    return { kind: "list", of: this.type(of), max: size };
  }

  fields(text: string): Field[] {
    return list(text).map((part) => {
      const [name = "", type = ""] = part.split(": ");
      return { name, type: this.type(type) };
    });
  }

  shape(text: string | undefined): Shape {
    if (text === undefined) return noFields;
    return text.startsWith("(") ? { fields: this.fields(text.slice(1, -1)) } : { struct: text };
  }
}

function list(text: string): string[] {
  return text === "" ? [] : text.split(", ");
}

const shapePattern = String.raw`(\([^)]*\)|\w+)`;
const sincePattern = String.raw`(?: since ([\d.]+))?`;
const patterns = {
  program: /^program (\w+) (0x[0-9a-f]+) version (\d+)$/,
  uses: /^uses (\w+)$/,
  limit: /^limit (\w+) = (\d+)$/,
  enum: /^enum (\w+) \((.+)\)$/,
  struct: /^struct (\w+) \((.+)\)$/,
  union: /^union (\w+) \((.+)\)$/,
  call: new RegExp(String.raw`^call (\d+) (\w+) ${shapePattern}(?: -> ${shapePattern})?(?: (download|upload|duplex))?${sincePattern}$`),
  skip: /^skip (\d+) (\w+)$/,
  event: new RegExp(String.raw`^event (\d+) (\w+) ${shapePattern}${sincePattern}$`),
};

/** Parses one description; throws an Error that names the line. */
export function parseDescription(text: string): Program {
  const reader = new Reader();
  const program = { name: "", number: 0, version: 0 };
  const uses: string[] = [];
  const enums: Enum[] = [];
  const structs: Struct[] = [];
  const unions: Union[] = [];
  const calls: Call[] = [];
  const skipped: Skipped[] = [];
  const events: Event[] = [];
  const readers: Record<keyof typeof patterns, (words: readonly (string | undefined)[]) => unknown> = {
    program: ([, name = "", number, version]) => Object.assign(program, { name, number: Number(number), version: Number(version) }),
    uses: ([, name = ""]) => uses.push(name),
    limit: ([, name = "", count]) => reader.limits.set(name, Number(count)),
    enum: ([, name = "", values = ""]) =>
      enums.push({
        name,
        values: list(values)
          .map((part) => part.split(" = "))
          .map(([word = "", value]) => ({ name: word, value: Number(value) })),
      }),
    struct: ([, name = "", fields = ""]) => structs.push({ name, fields: reader.fields(fields) }),
    union: ([, name = "", cases = ""]) =>
      unions.push({
        name,
        cases: list(cases).map((part) => {
          const [, tag, word = "", type = ""] = /^(\d+) (\w+): (.+)$/.exec(part) ?? [];
          return { tag: Number(tag), name: word, type: reader.type(type) };
        }),
      }),
    call: ([, number, name = "", args, result, stream, since]) =>
      calls.push({
        number: Number(number),
        name,
        args: reader.shape(args),
        result: reader.shape(result),
        stream: stream as Call["stream"],
        since,
      }),
    skip: ([, number, name = ""]) => skipped.push({ number: Number(number), name }),
    event: ([, number, name = "", message, since]) => events.push({ number: Number(number), name, message: reader.shape(message), since }),
  };
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const keyword = line.split(" ", 1)[0] as keyof typeof patterns;
    const words = patterns[keyword]?.exec(line);
    if (!words) throw new Error(`line ${index + 1} is not a declaration: ${line}`);
    readers[keyword](words);
  }
  return { ...program, uses, enums, structs, unions, calls, skipped, events };
}

/** The description of a program that is checked in. */
export function readDescription(name: string): Program {
  return parseDescription(readFileSync(join(import.meta.dirname, `../src/protocol/description/${name}.rpc`), "utf8"));
}
