import { describeError } from "@godwit/core";
import { canonicalSubnet } from "../network/migration-subnets.ts";
import { formatPath, type Path, type Problem } from "./problems.ts";

/** One difference between the file and what is. */
export interface Change {
  readonly action: "add" | "change" | "remove";
  /** Where in the file: `networks[1].role`. */
  readonly path: string;
  /** What it is about, for people: `network storage`. */
  readonly subject: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Collects what the parts of a plan find. */
export class Draft {
  readonly changes: Change[] = [];
  readonly problems: Problem[] = [];

  change(
    action: Change["action"],
    path: Path,
    subject: string,
    values: { readonly before?: unknown; readonly after?: unknown } = {},
  ): void {
    this.changes.push({ action, path: formatPath(path), subject, ...values });
  }

  problem(path: Path, text: string): void {
    this.problems.push({ path, text });
  }
}

/** Undefined after reporting a problem. */
export function canonicalOr(text: string, path: Path, draft: Draft): string | undefined {
  try {
    return canonicalSubnet(text);
  } catch (error) {
    draft.problem(path, describeError(error));
    return undefined;
  }
}
