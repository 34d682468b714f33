import { LabError } from "../error.ts";
import type { LabHost } from "../host.ts";
import { until } from "../process.ts";

export interface AgentOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 10 s. */
  readonly timeoutMs?: number | undefined;
}

/** Sends one command to the agent of a guest that runs on `host`, and resolves to its `return`. */
export async function agentCommand(
  host: LabHost,
  guest: string,
  execute: string,
  args: object = {},
  options: AgentOptions = {},
): Promise<unknown> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const command = JSON.stringify({ execute, arguments: args });
  // Without a timeout of its own virsh can hang for ever.
  const seconds = String(Math.max(1, Math.ceil(timeoutMs / 1000)));
  const { stdout } = await host.virsh(["qemu-agent-command", "--timeout", seconds, guest, command], {
    signal: options.signal,
    timeoutMs: timeoutMs + 5_000,
  });
  return (JSON.parse(stdout) as { readonly return: unknown }).return;
}

/** Runs a command in the guest through its agent; what it printed. Rejects with `failed` unless it exits 0. */
export async function agentExec(host: LabHost, guest: string, argv: readonly string[], options: AgentOptions = {}): Promise<Buffer> {
  const [path, ...arg] = argv;
  const started = (await agentCommand(host, guest, "guest-exec", { path, arg, "capture-output": true }, options)) as {
    readonly pid: number;
  };
  const status = await until(
    `'${argv.join(" ")}' in guest ${guest}`,
    async () => {
      const now = (await agentCommand(host, guest, "guest-exec-status", { pid: started.pid }, options)) as ExecStatus;
      return now.exited ? now : undefined;
    },
    { signal: options.signal, timeoutMs: options.timeoutMs ?? 30_000, everyMs: 100 },
  );
  if (status.exitcode === 0 && status["out-truncated"] !== true) return Buffer.from(status["out-data"] ?? "", "base64");
  const words = Buffer.from(status["err-data"] ?? "", "base64")
    .toString()
    .trim();
  throw new LabError("failed", `'${argv.join(" ")}' failed in guest ${guest} (exit ${status.exitcode ?? "by signal"}): ${words}`);
}

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly "out-data"?: string;
  readonly "err-data"?: string;
  readonly "out-truncated"?: boolean;
}
