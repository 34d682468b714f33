#!/usr/bin/env node
import { readFileSync } from "node:fs";
import type { Terminal } from "./context.ts";

function terminal(stream: NodeJS.WriteStream): Terminal {
  return {
    write: (text) => void stream.write(text),
    isTerminal: stream.isTTY,
    get columns() {
      return stream.columns ?? 80;
    },
  };
}

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
const interrupted = new AbortController();
let interrupts = 0;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    interrupts += 1;
    if (interrupts > 1) process.exit(130);
    interrupted.abort();
  });
}
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
const args = process.argv.slice(2);
// The vault needs no server: its commands start without loading the contract of one.
const { runCommand } = args[0] === "vault" ? await import("./vault-program.ts") : await import("./program.ts");
process.exitCode = await runCommand(args, {
  env: process.env,
  out: terminal(process.stdout),
  err: terminal(process.stderr),
  signal: interrupted.signal,
  version,
});
