/**
 * How long a lab takes from nothing until all hosts answer and the agents of all guests do, and until nothing
 * of it is left.
 *
 *   npm run bench -- lab [--rounds N] [--hosts N] [--guests N]
 */
import { startLab } from "@godwit/lab";
import { parseArgs } from "node:util";
import { median } from "./report.ts";

const limitSeconds = 40;

export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      hosts: { type: "string", default: "3" },
      guests: { type: "string", default: "3" },
    },
  });
  const [hosts, guests] = [Number(values.hosts), Number(values.guests)];
  const up: number[] = [];
  const down: number[] = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    let began = performance.now();
    const lab = await startLab({ hosts, guests });
    up.push((performance.now() - began) / 1000);
    began = performance.now();
    await lab[Symbol.asyncDispose]();
    down.push((performance.now() - began) / 1000);
  }
  const shown = (seconds: readonly number[]): string => seconds.map((one) => one.toFixed(1)).join(", ");
  const middle = median(up);
  process.stdout.write(
    `${hosts} hosts and ${guests} booted guests: up in ${middle.toFixed(1)} s (${shown(up)}), bar ${limitSeconds} s: ${middle <= limitSeconds ? "held" : "MISSED"}; down in ${median(down).toFixed(1)} s (${shown(down)})\n`,
  );
  process.stdout.write("what binds: booting emulated guests on the CPU, all at once\n");
}
