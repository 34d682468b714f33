/** The entry point of a worker thread. */
import { parentPort, workerData } from "node:worker_threads";
import { Labour } from "./labour.ts";
import type { Order, WorkerSetup } from "./protocol.ts";

const port = parentPort!;
const labour = new Labour(workerData as WorkerSetup, (report, transfer) => port.postMessage(report, transfer));
port.on("message", (order: Order) => labour.obey(order));
