import type { Clock } from "@godwit/core";
import { EngineError } from "../model/errors.ts";
import type { HostFile } from "./host-digest.ts";

/** A command has less time than a host with much memory takes to write out what it had not yet; it is asked again for so long, milliseconds. */
const patienceMs = 15 * 60_000;

/**
 * Resolves when a file is on its host's stable storage. Rejects with `hypervisor` when the host says that it cannot be, and
 * with `timeout` when it took too long.
 */
export async function makeDurable(
  { shell, path }: HostFile,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const giveUpAt = clock.monotonic() + patienceMs;
  for (;;) {
    try {
      const { code, stderr } = await shell.run(["sync", "--", path], { signal });
      if (code === 0) return;
      const why = stderr.trim() || `exit code ${code ?? "none"}`;
      throw new EngineError("hypervisor", `${path} could not be put on stable storage: ${why}`, { path });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EngineError) || error.kind !== "timeout" || clock.monotonic() > giveUpAt) throw error;
    }
  }
}
