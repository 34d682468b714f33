import { readFileSync } from "node:fs";
import { describeError } from "@godwit/core";
import { StoreError } from "@godwit/engine";
import type { Logger } from "pino";
import { ConfigError, readArguments, type ServerConfig } from "./config.ts";
import { createLog } from "./log.ts";
import { type GodwitServer, startServer } from "./server.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
/** The last resort: what does not let go by then is cut off, as a kill -9 would, which loses nothing. */
const stopWithinMs = 4500;

function fail(error: unknown): never {
  const known = error instanceof ConfigError || error instanceof StoreError;
  process.stderr.write(`godwit server: ${error instanceof ConfigError ? error.message : describeError(error)}\n`);
  if (!known && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exit(error instanceof ConfigError ? 2 : 1);
}

function say(server: GodwitServer, config: ServerConfig, log: Logger): void {
  const where = [`unix:${server.socket}`, ...(server.url === undefined ? [] : [server.url])];
  log.info({ version, socket: server.socket, url: server.url, stateDir: config.stateDir }, "ready");
  if (!process.stdout.isTTY) return;
  const token = server.url === undefined ? "" : ` (token in ${config.tokenFile})`;
  process.stdout.write(`Godwit ${version} answers at ${where.join(" and ")}${token}; Ctrl-C ends it\n`);
}

/** Resolves at the first signal to end; a second one ends the process at once. */
function untilSignalled(log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let signalled = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (signalled) process.exit(130);
      signalled = true;
      log.info({ signal }, "stopping; unfinished jobs go on when the server runs again");
      setTimeout(() => process.exit(0), stopWithinMs).unref();
      resolve();
    });
  }
  return promise;
}

async function main(): Promise<void> {
  const wanted = readArguments(process.argv.slice(2), process.env, version);
  if ("print" in wanted) {
    process.stdout.write(wanted.print);
    return;
  }
  const config = wanted.run;
  const log = createLog(config.logLevel);
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "an unforeseen error ends the server; its jobs go on when it runs again");
    process.exit(1);
  });
  const ended = untilSignalled(log);
  const server = await startServer({ config, log, version });
  say(server, config, log);
  await ended;
  await server[Symbol.asyncDispose]();
  log.info({}, "stopped");
  process.exit(0);
}

await main().catch(fail);
