/** A process that owns a lab and says where it is: for tests that kill it. `owner.ts HOSTS`. */
import { startLab } from "../../src/index.ts";

const lab = await startLab({ hosts: Number(process.argv[2]) });
process.stdout.write(`${JSON.stringify({ dir: lab.dir, index: lab.index })}\n`);
setInterval(() => undefined, 60_000);
