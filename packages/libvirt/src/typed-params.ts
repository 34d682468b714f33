import { LibvirtError } from "./errors.ts";
import type { TypedParam, TypedParamValue } from "./protocol/generated/types.ts";

/** A decoded value: 64-bit ones are bigint, whatever they are; the others are numbers. */
export type TypedValue = number | bigint | string | boolean;

/** libvirt's seven types, by the names of its `typed` functions. */
export type TypedParamKind = TypedParamValue["kind"];

/** What {@link typedParams.encode} takes; a list becomes one parameter for each element (`migrate_disks`). */
export type TypedParamInput = Readonly<Record<string, TypedValue | readonly TypedValue[] | undefined>>;

/**
 * Parameters of the migration, save and block copy calls whose type is not what their value suggests. libvirt refuses a
 * parameter of another type than it expects, also where the value would fit.
 */
const knownKinds: Readonly<Record<string, TypedParamKind>> = {
  bandwidth: "ullong",
  "bandwidth.postcopy": "ullong",
  "bandwidth.avail.switchover": "ullong",
  "compression.xbzrle.cache": "ullong",
  granularity: "uint",
  "buf-size": "ullong",
};

function kindOf(name: string, value: TypedValue, kinds: Readonly<Record<string, TypedParamKind>>): TypedParamKind {
  // Names come from outside: what an object inherits is none of them.
  const kind = [kinds, knownKinds].find((known) => Object.hasOwn(known, name))?.[name];
  if (kind !== undefined) return kind;
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "bigint") return value < 0n ? "llong" : "ullong";
  return Number.isInteger(value) ? "int" : "double";
}

function wire(name: string, kind: TypedParamKind, value: TypedValue): TypedParamValue {
  const wrong = (): LibvirtError =>
    new LibvirtError("invalid-argument", `parameter ${name}: ${typeof value} ${value} is no ${kind}`, { name });
  switch (kind) {
    case "string":
      if (typeof value !== "string") throw wrong();
      return { kind, value };
    case "boolean":
      if (typeof value !== "boolean") throw wrong();
      return { kind, value: value ? 1 : 0 };
    case "llong":
    case "ullong":
      if (typeof value !== "bigint" && !Number.isSafeInteger(value)) throw wrong();
      return { kind, value: BigInt(value) };
    case "int":
    case "uint":
    case "double":
      if (typeof value !== "number") throw wrong();
      return { kind, value };
  }
}

function plain(value: TypedParamValue): TypedValue {
  return value.kind === "boolean" ? value.value !== 0 : value.value;
}

/** Between libvirt's typed parameters and plain records. */
export const typedParams: {
  encode(record: TypedParamInput, kinds?: Readonly<Record<string, TypedParamKind>>): TypedParam[];
  decode(params: readonly TypedParam[]): Readonly<Record<string, TypedValue>>;
} = {
  /**
   * The type follows from the value: integer numbers are `int`, others `double`, bigints `ullong` (negative: `llong`); the
   * parameters of migration, save and block copy get the types that libvirt wants, and `kinds` says others.
   * Undefined members are left out.
   */
  encode(record, kinds = {}) {
    return Object.entries(record).flatMap(([field, given]) => {
      const values: readonly TypedValue[] = given === undefined ? [] : typeof given === "object" ? given : [given];
      return values.map((value) => ({ field, value: wire(field, kindOf(field, value, kinds), value) }));
    });
  },

  /** Of a repeated name the last value counts; libvirt's answers repeat none. */
  decode(params) {
    return Object.fromEntries(params.map(({ field, value }) => [field, plain(value)]));
  },
};
