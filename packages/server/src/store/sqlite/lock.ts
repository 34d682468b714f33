import { hostname } from "node:os";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "@godwit/engine";
import { createPrivately } from "./database.ts";
import { isSqliteError, storeError } from "./errors.ts";

const busy = 5;

/**
 * Lets one server at a time use a database. The lock is one that the kernel drops with the process (SQLite's
 * write lock on a small database beside it), so no kill leaves it behind; who holds it is written inside,
 * where others may read it. Dispose to let go.
 *
 * @throws StoreError `locked`, naming the process that holds it.
 */
export function lockDatabase(path: string): Disposable {
  const lockPath = `${path}.lock`;
  createPrivately(lockPath);
  const database = open(lockPath);
  try {
    database.exec("pragma busy_timeout = 0; pragma synchronous = off");
    database.exec("begin immediate; create table if not exists holder (pid integer, host text, since text); delete from holder");
    database.prepare("insert into holder values (?, ?, ?)").run(process.pid, hostname(), new Date().toISOString());
    // Readers see what is committed; whoever comes between the two statements finds his own name there.
    database.exec("commit; begin immediate");
  } catch (error) {
    const holder = isSqliteError(error) && (error.errcode & 0xff) === busy ? readHolder(database) : undefined;
    database.close();
    if (holder === undefined) throw storeError(lockPath, error);
    throw new StoreError(
      "locked",
      `another Godwit server ${holder} uses the database ${path}: stop it, or give this one another --state-dir`,
      {
        path,
      },
    );
  }
  return { [Symbol.dispose]: () => database.close() };
}

function open(lockPath: string): DatabaseSync {
  try {
    return new DatabaseSync(lockPath);
  } catch (error) {
    throw storeError(lockPath, error);
  }
}

function readHolder(database: DatabaseSync): string {
  try {
    const row = database.prepare("select pid, host, since from holder").get();
    return row ? `(pid ${String(row["pid"])} on ${String(row["host"])}, since ${String(row["since"])})` : "(just starting)";
  } catch {
    return "(just starting)";
  }
}
