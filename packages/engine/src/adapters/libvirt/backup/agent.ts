import { withDeadline } from "@godwit/core";
import type { Connection, Domain } from "@godwit/libvirt";
import { EngineError } from "../../../model/errors.ts";

export interface Agent {
  readonly connection: Connection;
  readonly dom: Domain;
}

/** libvirt waits up to 30 s for an agent that another client keeps busy. */
const graceMs = 2000;

/** One command to a guest's agent. Rejects with `timeout`, or with what the agent said. */
export async function askAgent(
  { connection, dom }: Agent,
  command: Parameters<Connection["agentCommand"]>[1],
  { timeoutSeconds, signal }: { readonly timeoutSeconds: number; readonly signal: AbortSignal | undefined },
): ReturnType<Connection["agentCommand"]> {
  const late = (): Error => new EngineError("timeout", `${command.execute} was not answered within ${timeoutSeconds} s`);
  return await withDeadline(timeoutSeconds * 1000 + graceMs, late, signal, (both) =>
    connection.agentCommand(dom, command, { timeoutSeconds, signal: both }),
  );
}
