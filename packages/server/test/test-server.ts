/** Run as a child and killed: the server as `godwit server` runs it, with one kind of job that only tests have. */
import { systemClock } from "@godwit/core";
import { type JobKind, vmStartKind } from "@godwit/engine";
import { appendFileSync, existsSync } from "node:fs";
import { createLog } from "../src/log.ts";
import { startServer } from "../src/server.ts";

const [socket = "", stateDir = "", diary = ""] = process.argv.slice(2);

/** Writes each thing it does to a diary, and waits in its second step until a file says that it may go on. */
const waiting: JobKind = {
  ...vmStartKind({} as never),
  kind: "test.wait",
  title: () => "Wait",
  subject: () => ({ type: "cluster", id: "cluster", name: "cluster" }),
  locks: () => ["test"],
  slots: () => [],
  async run(context) {
    const write = (text: string): void => appendFileSync(diary, `${context.attempt} ${text}\n`);
    await context.step("first", async () => write("first"));
    await context.step("second", async () => {
      write("second begins");
      while (!existsSync(`${diary}.go`)) await systemClock.sleep(20, context);
      write("second ends");
    });
    return { attempts: context.attempt };
  },
};

const config = { socket, stateDir, tokenFile: `${stateDir}/token`, logLevel: "info" } as const;
const server = await startServer({ config, log: createLog("info"), version: "0.0.0", kinds: [waiting] });
process.once("SIGTERM", () => void server[Symbol.asyncDispose]());
