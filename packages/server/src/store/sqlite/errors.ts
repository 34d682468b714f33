import { StoreError, type StoreErrorKind } from "@godwit/engine";
import { toError } from "@godwit/core";

interface SqliteError extends Error {
  readonly errcode: number;
}

/** Primary result codes, https://www.sqlite.org/rescode.html */
const kinds: Readonly<Record<number, readonly [StoreErrorKind, string]>> = {
  5: ["locked", "is locked by another process: stop what else has it open"],
  8: ["io", "is read-only: check the owner and mode of the file and its folder, and that the file system is mounted for writing"],
  10: ["io", "cannot be read or written (the change was not made): check the disk and the kernel's log"],
  11: ["corrupt", "is damaged (nothing was changed)"],
  13: ["full", "has no space left to grow (the change was not made, everything before it is kept): free some space, it goes on by itself"],
  14: ["io", "cannot be opened: check that its folder exists and may be written"],
  26: ["corrupt", "is not a database"],
};

export function isSqliteError(thrown: unknown): thrown is SqliteError {
  return thrown instanceof Error && "errcode" in thrown && typeof thrown.errcode === "number";
}

/** What SQLite threw, as a `StoreError` that names the file, the reason and the way out. */
export function storeError(path: string, thrown: unknown): Error {
  if (thrown instanceof StoreError) return thrown;
  if (!isSqliteError(thrown)) {
    const closed = thrown instanceof Error && "code" in thrown && thrown.code === "ERR_INVALID_STATE";
    return closed ? new StoreError("closed", `the database ${path} was closed`, { path }, { cause: thrown }) : toError(thrown);
  }
  const [kind, why] = kinds[thrown.errcode & 0xff] ?? ["io", "failed"];
  return new StoreError(kind, `the database ${path} ${why}${kind === "corrupt" ? mend(path) : ""}`, { path }, { cause: thrown });
}

/** Everything but the settings an admin made and the history of jobs can be read back from the hosts. */
function mend(path: string): string {
  return `; put a backup of it in its place, or move it away (mv ${path} ${path}.damaged) and add the hosts again with 'godwit apply'`;
}
