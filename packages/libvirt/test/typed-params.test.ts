import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockCopyParam, LibvirtError, MigrateParam, type TypedParamKind, typedParams } from "../src/index.ts";

const kinds = (record: Parameters<typeof typedParams.encode>[0]): readonly TypedParamKind[] =>
  typedParams.encode(record).map(({ value }) => value.kind);

test("the type follows from the value", () => {
  assert.deepEqual(kinds({ a: 1, b: 1.5, c: 1n, d: -1n, e: "x", f: true, g: undefined }), [
    "int",
    "double",
    "ullong",
    "llong",
    "string",
    "boolean",
  ]);
});

test("parameters whose type libvirt insists on get it, also from a plain number", () => {
  assert.deepEqual(typedParams.encode({ [MigrateParam.BANDWIDTH]: 100 }), [{ field: "bandwidth", value: { kind: "ullong", value: 100n } }]);
  assert.deepEqual(kinds({ [MigrateParam.DISKS_PORT]: 49_200, [BlockCopyParam.GRANULARITY]: 65_536, [BlockCopyParam.BUF_SIZE]: 0 }), [
    "int",
    "uint",
    "ullong",
  ]);
});

test("a list becomes one parameter for each element", () => {
  const params = typedParams.encode({ [MigrateParam.MIGRATE_DISKS]: ["vda", "vdb"] });
  assert.deepEqual(
    params.map(({ field, value }) => [field, value.value]),
    [
      ["migrate_disks", "vda"],
      ["migrate_disks", "vdb"],
    ],
  );
});

test("an explicit kind wins, and a value it does not fit is refused by name", () => {
  assert.deepEqual(typedParams.encode({ weight: 5 }, { weight: "uint" }), [{ field: "weight", value: { kind: "uint", value: 5 } }]);
  for (const [value, kind] of [
    ["1", "int"],
    [1n, "uint"],
    [1.5, "ullong"],
    [1, "boolean"],
    [true, "string"],
    [1n, "double"],
  ] as const) {
    assert.throws(
      () => typedParams.encode({ weight: value }, { weight: kind }),
      (error) => error instanceof LibvirtError && error.kind === "invalid-argument" && error.message.includes("weight"),
    );
  }
});

test("decode gives back what encode took, and no name is special", () => {
  const record = { a: 1, b: 1.5, c: 1n, d: -1n, e: "x", f: true, ["__proto__"]: "own" };
  const decoded = typedParams.decode(typedParams.encode(record));
  assert.deepEqual(Object.entries(decoded), Object.entries(record));
});
