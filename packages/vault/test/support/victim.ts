/**
 * A machine that works on a vault in a directory until somebody kills it: `node victim.ts DIRECTORY SEED`. It
 * says a line before each thing it does.
 */
import { LocalStore, Vault } from "@godwit/vault";
import { contentOf, MemoryDisk, secret, signal, tuning } from "./disks.ts";

const [folder, seed] = process.argv.slice(2) as [string, string];
const vault = await Vault.open(await LocalStore.open(folder, { signal }), secret, { signal, tuning });
const name = `vm${Number(seed) % 3}`;

for (let round = Number(seed); ; round += 1) {
  const { points } = await vault.points({ name, signal });
  process.stdout.write(`round ${round}\n`);
  const base = points.at(-1);
  const source = new MemoryDisk(contentOf(round % 5));
  await vault
    .put({ name, ...(base ? { base } : {}), reasons: [`content ${round % 5}`], disks: [{ name: "vda", source }] }, { signal })
    .catch(allowGivenUp);
  if (points.length > 2) await vault.deletePoint(points[round % points.length]!.id, { signal });
  if (round % 2 === 0) await vault.gc({ signal, maxDeadShare: 0.2 });
}

/** Another machine that works for the same VM may have finished first. */
function allowGivenUp(error: unknown): void {
  if (!(error instanceof Error && "kind" in error && error.kind === "given-up")) throw error;
}
