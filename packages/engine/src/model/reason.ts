/** Why something is as it is: `code` is stable and for programs, `text` is for people. */
export interface Reason {
  readonly code: string;
  readonly text: string;
}

/** One test of a preflight. `remedy` says what to do, and is there whenever the verdict is not `pass`. */
export interface Check {
  readonly id: string;
  readonly verdict: "pass" | "warn" | "fail" | "not-applicable";
  readonly text: string;
  readonly remedy?: string;
}
