/** Makes generated code anew from its descriptions: `npm run generate`. */
import { node, runAll } from "./run.ts";

await runAll([
  ["libvirt protocol", node[0]!, ...node.slice(1), "packages/libvirt/scripts/generate.ts"],
  ["API reference", node[0]!, ...node.slice(1), "scripts/api-reference.ts"],
]);
