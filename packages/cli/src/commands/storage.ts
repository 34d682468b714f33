import type { StoragePool } from "@godwit/api";
import { printList } from "../context.ts";
import type { Column } from "../output/table.ts";
import { formatBytes } from "../output/units.ts";
import type { AddCommands } from "./command.ts";

const columns: readonly Column<StoragePool>[] = [
  { title: "HOST", value: (pool) => pool.host },
  { title: "POOL", value: (pool) => pool.name },
  { title: "TYPE", value: (pool) => pool.type },
  { title: "STATE", value: (pool) => (pool.active ? "active" : "inactive") },
  { title: "CAPACITY", value: (pool) => formatBytes(pool.capacityBytes), align: "right" },
  { title: "FREE", value: (pool) => formatBytes(pool.availableBytes), align: "right" },
  { title: "PATH", value: (pool) => pool.path },
];

export const addStorageCommands: AddCommands = (program, withContext) => {
  program
    .command("storage")
    .description("storage pools of the hosts")
    .command("list")
    .description("list storage pools")
    .option("--host <host>", "only of this host")
    .action((flags: { host?: string }) =>
      withContext(async (context) => {
        const pools = await Array.fromAsync(context.client.all("storagePoolList", { query: flags, signal: context.signal }));
        printList(context, pools, columns, "no storage pool on any host");
      }),
    );
};
