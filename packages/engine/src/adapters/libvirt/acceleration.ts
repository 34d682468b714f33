import { describeError } from "@godwit/core";
import type { Acceleration } from "../../model/host.ts";
import type { CommandResult, HostShell } from "../../ports/shell.ts";

/**
 * The last 512 bytes of a 64 KiB ROM without the zeros at its end and the reset vector. From the reset vector at 0x1f0 it jumps to
 * F000:FE00 and then, in 16-bit code:
 *
 *     cli; ds = 0; dword [0x1000] = 0x2003; dword [0x2000] = 0x3003; dword [0x3000] = 0x83   one 2 MiB page at 0
 *     lgdt gdtr; cr4 |= PAE; cr3 = 0x1000; msr EFER |= LME; cr0 |= PG | PE; jump 8:long
 *     long: (64-bit) add, rotate and store a 64-bit number 1,000 times; out 0xf4, 0x15; hlt for ever
 *
 * `isa-debug-exit` at 0xf4 makes QEMU exit with 0x15 * 2 + 1. Only a processor that really executes 64-bit code
 * gets there: there are hosts whose /dev/kvm opens and even runs 32-bit code.
 */
const romTail = [
  "+jHAjthmxwYAEAMgAABmxwYAIAMwAABmxwYAMIMAAAAuZg8BFqD+DyDgZoPIIA8i4Ga4ABAAAA8i2Ga5gAAAwA8yZg0AAQAADzAPIMBmDQEAAIAPIsBm6l7+DwAIAEi4",
  "8N68mnhWNBJIicO56AMAAEgB2EjBwANIiQQlAEAAAP/Jde2wFeb09Ov9jbQAAGaQAAAAAAAAAAAAAAAAAJogAA8AkP4P",
] as const;
const TAIL_BYTES = 512;
const ROM_BYTES = 65_536;
const RESET_VECTOR = 0x1f0;
const RAN = 0x15 * 2 + 1;
const SECONDS = 4;

/** `$1` is the emulator, `$2` the accelerator; the ROM's tail comes in base64. Leaves nothing behind. */
const script = `rom=$(mktemp) || exit 90
trap 'rm -f "$rom"' EXIT
{ head -c ${ROM_BYTES - TAIL_BYTES} /dev/zero; base64 -d; } >"$rom" || exit 91
timeout -s KILL ${SECONDS} "$1" -accel "$2" -machine q35 -cpu max -m 2 -bios "$rom" -nodefaults -no-user-config -display none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 </dev/null 2>&1`;

function romTailBase64(): string {
  const tail = Buffer.alloc(TAIL_BYTES);
  Buffer.from(romTail.join(""), "base64").copy(tail);
  Buffer.from([0xea, 0x00, 0xfe, 0x00, 0xf0]).copy(tail, RESET_VECTOR);
  return tail.toString("base64");
}

/** Runs a 64-bit guest of a few instructions; the exit code is {@link RAN} when it did. */
export function runTestGuest(shell: HostShell, emulator: string, accelerator: string, signal: AbortSignal): Promise<CommandResult> {
  return shell.run(["sh", "-c", script, "sh", emulator, accelerator], { signal, stdin: romTailBase64() });
}

export interface ProbeRequest {
  /** What the test guest runs on; absent, nothing can be tried. */
  readonly shell?: HostShell | undefined;
  readonly arch: string;
  readonly emulator?: string | undefined;
  readonly domainTypes: readonly string[];
  /** Of the emulator, so that an upgrade is tried anew. */
  readonly version: string;
}

/**
 * Finds out whether guests really are accelerated, once per boot of a host and version of its emulator: give the
 * same prober to all connections.
 */
export class AccelerationProber {
  readonly #answers = new Map<string, Acceleration>();

  /** Never rejects, except with `signal.reason` on abort. */
  async probe(request: ProbeRequest, signal: AbortSignal): Promise<Acceleration> {
    if (!request.domainTypes.includes("kvm")) return withoutKvm(request.domainTypes);
    const { shell, emulator } = request;
    if (!shell || emulator === undefined || request.arch !== "x86_64") return claimed("the host offers KVM; it was not tried");
    try {
      const boot = await bootOf(shell, signal);
      const key = `${boot} ${emulator} ${request.version}`;
      const answer = this.#answers.get(key) ?? judge(await runTestGuest(shell, emulator, "kvm", signal));
      if (boot !== "" && answer.evidence === "probed") this.#answers.set(key, answer);
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      return claimed(`the host offers KVM; it could not be tried: ${describeError(error)}`);
    }
  }
}

async function bootOf(shell: HostShell, signal: AbortSignal): Promise<string> {
  const { code, stdout } = await shell.run(["cat", "/proc/sys/kernel/random/boot_id"], { signal });
  return code === 0 ? stdout.trim() : "";
}

function withoutKvm(domainTypes: readonly string[]): Acceleration {
  return domainTypes.includes("qemu")
    ? { kind: "tcg", evidence: "claimed", text: "the host offers no KVM; guests are emulated" }
    : { kind: "unknown", evidence: "none", text: "the hypervisor does not say" };
}

function claimed(text: string): Acceleration {
  return { kind: "kvm", evidence: "claimed", text };
}

/** What cannot have been the processor's fault is no evidence against it. */
const notTried = /permission denied|not a valid device|invalid accelerator|unsupported machine|no machine|not found/i;

function judge({ code, stdout }: CommandResult): Acceleration {
  const said = stdout.trim().split("\n")[0]?.slice(0, 200) ?? "";
  if (code === RAN) return { kind: "kvm", evidence: "probed", text: "a 64-bit test guest ran under KVM" };
  if (code === 90 || code === 91 || code === 126 || code === 127 || notTried.test(said)) {
    return claimed(`the host offers KVM; it could not be tried: ${said || `the shell ended with ${code}`}`);
  }
  const how = code === 137 || code === undefined ? `hung for ${SECONDS} s` : `ended with ${code}`;
  return { kind: "tcg", evidence: "probed", text: `the host offers KVM, but a 64-bit test guest ${how}${said && `: ${said}`}` };
}
