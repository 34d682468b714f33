/** The entry point of a worker thread: the first message says what it works with, all others are orders. */
import { parentPort } from "node:worker_threads";
import { Labour } from "./labour.ts";
import type { Order, WorkerSetup } from "./protocol.ts";

const port = parentPort!;
let labour: Labour | undefined;
port.on("message", (message: unknown) => {
  if (labour) labour.obey(message as Order);
  else labour = new Labour(message as WorkerSetup, (report, transfer) => port.postMessage(report, transfer));
});
