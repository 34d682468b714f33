import type { Collection } from "@godwit/engine";
import type { Kysely } from "kysely";
import type { Schema } from "./schema.ts";

/** Runs a query, with what the database throws made a `StoreError`. */
export type Guard = <T>(query: () => Promise<T>) => Promise<T>;

/** A collection of small records: read whole, found by id. */
export function sqliteCollection<T>(db: Kysely<Schema>, guard: Guard, collection: string): Collection<T> {
  const parse = (row: { readonly value: string }): T => JSON.parse(row.value) as T;
  return {
    get: (id) =>
      guard(async () => {
        const row = await db
          .selectFrom("record")
          .select("value")
          .where("collection", "=", collection)
          .where("id", "=", id)
          .executeTakeFirst();
        return row && parse(row);
      }),
    list: () =>
      guard(async () => {
        const rows = await db.selectFrom("record").select("value").where("collection", "=", collection).orderBy("id").execute();
        return rows.map(parse);
      }),
    put: (id, value) =>
      guard(async () => {
        const row = { collection, id, value: JSON.stringify(value) };
        await db
          .insertInto("record")
          .values(row)
          .onConflict((on) => on.columns(["collection", "id"]).doUpdateSet({ value: row.value }))
          .execute();
      }),
    delete: (id) =>
      guard(async () => {
        await db.deleteFrom("record").where("collection", "=", collection).where("id", "=", id).execute();
      }),
  };
}
