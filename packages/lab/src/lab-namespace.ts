import { LabError } from "./error.ts";
import { findInit, isInit } from "./init-process.ts";
import { script } from "./paths.ts";
import { run, type RunOptions, type RunResult } from "./process.ts";
import type { Batch } from "./switch.ts";

/**
 * The place that holds the lab together: the mount and pid namespaces of its init. From here the
 * network namespaces of its switch and hosts have names.
 */
export class LabNamespace {
  readonly #dir: string;
  #init: number | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** The init's pid as this process sees it; throws `not-found` when the lab is gone. */
  get initPid(): number {
    const found = (): number | undefined =>
      findInit(script("lab-init.sh"), [this.#dir, "owned"]) ?? findInit(script("lab-init.sh"), [this.#dir, "detached"]);
    if (this.#init === undefined || !isInit(this.#init, script("lab-init.sh"), [this.#dir])) this.#init = found();
    if (this.#init === undefined) throw new LabError("not-found", `the lab of ${this.#dir} does not run`);
    return this.#init;
  }

  enter(argv: readonly string[]): string[] {
    return ["nsenter", "--target", String(this.initPid), "--mount", "--pid", "--wd=/", "--", ...argv];
  }

  run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return run(this.enter(argv), options);
  }

  /** Runs `ip` batches in order; one that fails ends it. */
  async batches(batches: readonly Batch[], signal: AbortSignal | undefined): Promise<void> {
    for (const batch of batches) {
      const where = batch.namespace === undefined ? [] : ["-n", batch.namespace];
      await this.run(["ip", ...where, "-batch", "-"], { signal, input: `${batch.lines.join("\n")}\n` });
    }
  }
}
