import fc from "fast-check";
import { type Program, readDescription, type Shape, type Type } from "../scripts/description.ts";

export const programs: readonly Program[] = ["remote", "qemu"].map(readDescription);

const structs = new Map(programs.flatMap((program) => program.structs).map((struct) => [struct.name, struct.fields]));
const unions = new Map(programs.flatMap((program) => program.unions).map((union) => [union.name, union.cases]));
const enums = new Map(programs.flatMap((program) => program.enums).map((one) => [one.name, one.values]));

const text = fc.string({ unit: "grapheme", maxLength: 20 }).filter((value) => !value.includes("\0"));
const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes).toString("hex"));
const uuid = fc.tuple(hex(4), hex(2), hex(2), hex(2), hex(6)).map((parts) => parts.join("-"));

function named(name: string): fc.Arbitrary<unknown> {
  const fields = structs.get(name);
  if (fields) return ofFields(fields);
  const cases = unions.get(name);
  if (cases)
    return fc.oneof(
      ...cases.map((one) => fc.record({ kind: fc.constant(one.name), value: arbitrary(one.type) }, { noNullPrototype: true })),
    );
  return fc.constantFrom(...enums.get(name)!.map((value) => value.name));
}

function ofFields(fields: readonly { readonly name: string; readonly type: Type }[]): fc.Arbitrary<unknown> {
  return fc.record(Object.fromEntries(fields.map((field) => [field.name, arbitrary(field.type)])), { noNullPrototype: true });
}

/** Values of a described type, its extremes among them. */
export function arbitrary(type: Type): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case "i32":
      return fc.integer();
    case "u32":
      return fc.nat({ max: 0xffff_ffff });
    case "i64":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "u64":
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case "f64":
      return fc.double();
    case "string":
      return text;
    case "uuid":
      return uuid;
    case "cstring":
      return text.filter((value) => Buffer.byteLength(value) < type.size);
    case "bytes":
    case "chars":
      return fc.uint8Array({ minLength: type.fixed ? type.size : 0, maxLength: Math.min(type.size, 24) });
    case "optional":
      return fc.option(arbitrary(type.of));
    case "list":
      return fc.array(arbitrary(type.of), { maxLength: Math.min(type.max, 3) });
    case "named":
      return named(type.name);
  }
}

/** Values of arguments, results and messages; a result of one field is that field. */
export function arbitraryShape(shape: Shape, unwrap: boolean): fc.Arbitrary<unknown> {
  if ("struct" in shape) return named(shape.struct);
  if (shape.fields.length === 0) return fc.constant(undefined);
  return unwrap && shape.fields.length === 1 ? arbitrary(shape.fields[0]!.type) : ofFields(shape.fields);
}
