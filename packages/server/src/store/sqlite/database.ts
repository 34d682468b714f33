import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "@godwit/engine";
import type { SqliteDatabase } from "kysely";
import { storeError } from "./errors.ts";
import { applicationId, migrations } from "./schema.ts";

/**
 * Opens and checks the database, and brings it to this version's schema. Every commit is on the disk when it
 * returns (WAL with `synchronous = full`). Only the owner may read the file: it names hosts and key files.
 */
export function openDatabase(path: string): DatabaseSync {
  createPrivately(path);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    database.exec("pragma busy_timeout = 2000");
    checkOwner(database, path);
    database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on");
    checkWhole(database, path);
    migrate(database, path);
    return database;
  } catch (error) {
    database?.close();
    throw storeError(path, error);
  }
}

/** Makes the file and its folder where they are missing, for their owner alone. */
export function createPrivately(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
  } catch (error) {
    throw new StoreError("io", `${path} cannot be created: check that its folder may be written`, { path }, { cause: error });
  }
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`pragma ${name}`).get() ?? {})[0];
}

function checkOwner(database: DatabaseSync, path: string): void {
  const tables = database.prepare("select count(*) as n from sqlite_schema").get()?.["n"];
  if (tables === 0 || pragma(database, "application_id") === applicationId) return;
  throw new StoreError("not-ours", `${path} is a database of another program; give Godwit another --state-dir`, { path });
}

function checkWhole(database: DatabaseSync, path: string): void {
  const found = pragma(database, "quick_check(1)");
  if (found === "ok") return;
  throw storeError(path, Object.assign(new Error(String(found)), { errcode: 11 }));
}

function migrate(database: DatabaseSync, path: string): void {
  const version = Number(pragma(database, "user_version"));
  if (version > migrations.length) {
    throw new StoreError(
      "newer-schema",
      `the database ${path} was written by a newer Godwit (schema ${version}, this one knows ${migrations.length}): run that one, or restore a backup from before the upgrade`,
      { path, version },
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    database.exec(`begin immediate; ${sql}; pragma user_version = ${index + 1}; pragma application_id = ${applicationId}; commit`);
  }
}

/** node:sqlite as Kysely's SQLite dialect wants it. */
export function forKysely(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare(sql) {
      const statement = database.prepare(sql);
      const reader = statement.columns().length > 0;
      return {
        reader,
        all: (parameters) => statement.all(...values(parameters)),
        run: (parameters) => statement.run(...values(parameters)),
        iterate: (parameters) => statement.iterate(...values(parameters)) as IterableIterator<unknown>,
      };
    },
  };
}

type Value = null | number | bigint | string | Uint8Array;

function values(parameters: readonly unknown[]): Value[] {
  return parameters as readonly Value[] as Value[];
}
