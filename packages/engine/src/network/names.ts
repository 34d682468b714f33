import { EngineError } from "../model/errors.ts";

interface Named {
  readonly id: string;
  readonly name: string;
}

/** Finds one of `all` by id, or by name whatever its case. Throws `not-found` or `ambiguous`, naming what there is. */
export function findNamed<T extends Named>(what: string, ref: string, all: readonly T[]): T {
  const byId = all.find(({ id }) => id === ref);
  if (byId) return byId;
  const matches = all.filter(({ name }) => name.toLowerCase() === ref.toLowerCase());
  const [only] = matches;
  if (only && matches.length === 1) return only;
  if (only)
    throw new EngineError(
      "ambiguous",
      `several ${what}s are called "${ref}": use the id, one of ${matches.map(({ id }) => id).join(", ")}`,
    );
  const names = all.map(({ name }) => `"${name}"`).join(", ");
  throw new EngineError("not-found", `there is no ${what} "${ref}"${names === "" ? ", and no other either" : `; there are ${names}`}`);
}
