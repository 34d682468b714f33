/** The entry point of a worker thread: the first message is its setup, all others are orders. */
import { parentPort } from "node:worker_threads";
import { Labour } from "./labour.ts";
import type { Order, WorkerSetup } from "./protocol.ts";

const port = parentPort!;
port.once("message", (setup: WorkerSetup) => {
  const labour = new Labour(setup, (report, transfer) => port.postMessage(report, transfer));
  port.on("message", (order: Order) => labour.obey(order));
});
