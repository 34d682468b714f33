/** The developer's loop: the static checks and the unit tests; no root, no lab. */
import { checks, node, runAll } from "./run.ts";

await runAll([...checks, ["unit tests", node[0]!, ...node.slice(1), "scripts/test.ts", "--unit"]]);
