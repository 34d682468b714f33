import { type JobContext, LeaseLost, ServerStopping } from "../jobs/job.ts";
import { EngineError } from "../model/errors.ts";
import type { MigrationInput } from "./model.ts";

/** A signal for a cancel only: a move between peers goes on without the server. */
export function unlessStopping({ signal }: Pick<JobContext<MigrationInput>, "signal">): AbortSignal {
  const cancel = new AbortController();
  const follow = (): void => {
    if (!(signal.reason instanceof ServerStopping) && !(signal.reason instanceof LeaseLost)) cancel.abort(signal.reason);
  };
  if (signal.aborted) follow();
  else signal.addEventListener("abort", follow, { once: true });
  return cancel.signal;
}

/** How the source's libvirt reaches the destination's: by TLS at the address that the server uses, too. */
export function peerUri(destinationUri: string, destination: string): string {
  const match = /^[a-z0-9]+(?:\+[a-z0-9]+)?:\/\/(?:[^@/]*@)?(\[[^\]]+\]|[^:/?]+)/i.exec(destinationUri);
  if (!match?.[1])
    throw new EngineError("invalid", `the URI of ${destination} names no address that another host could use: peer-to-peer needs one`, {
      uri: destinationUri,
    });
  return `qemu+tls://${match[1]}/system`;
}
