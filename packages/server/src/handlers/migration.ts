import { EngineError } from "@godwit/engine";
import type { Handlers } from "../http/contract.ts";
import { pageOf } from "../http/paging.ts";
import type { Services } from "../services.ts";
import { withDestination } from "./placement.ts";
import { hostMigrationView, jobView } from "./views.ts";

type Names =
  | "vmMigrate"
  | "vmMigrationPlan"
  | "vmMoveStorage"
  | "vmGenerationId"
  | "migrationExplain"
  | "liveMigrationGet"
  | "liveMigrationSet"
  | "hostMigrationGet"
  | "hostMigrationSet"
  | "migrationNetworkList"
  | "migrationNetworkAdd"
  | "migrationNetworkSet"
  | "migrationNetworkRemove";

export function migrationHandlers(services: Services): Pick<Handlers, Names> {
  return { ...moves(services), ...settings(services) };
}

type MoveNames = "vmMigrate" | "vmMigrationPlan" | "vmMoveStorage" | "vmGenerationId" | "migrationExplain";

function moves(services: Services): Pick<Handlers, MoveNames> {
  const { inventory, networks, migrations, jobs } = services;
  return {
    async vmMigrate({ params, body, idempotencyKey, signal }) {
      if (body.dryRun) throw new EngineError("invalid", "a dry run starts no job: ask for the migration plan instead");
      return jobView(
        await jobs.submit("vm.migrate", migrations.jobInput(params.vm, await withDestination(services, params.vm, body, signal)), {
          idempotencyKey,
        }),
      );
    },
    vmMigrationPlan: async ({ params, body, signal }) =>
      await migrations.plan(params.vm, await withDestination(services, params.vm, body, signal), { signal }),
    async vmMoveStorage({ params, body, idempotencyKey }) {
      return jobView(await jobs.submit("vm.move-storage", migrations.storageJobInput(params.vm, body), { idempotencyKey }));
    },
    vmGenerationId: async ({ params, signal }) => await migrations.ensureGenerationId(params.vm, { signal }),
    async migrationExplain({ params, query }) {
      const vm = inventory.vm(params.vm);
      const to = inventory.host(query.to);
      return { vm: vm.name, source: vm.host, destination: to.name, networks: await networks.verdicts(vm.hostId, to.id) };
    },
  };
}

function settings({ networks, jobs }: Services): Omit<Pick<Handlers, Names>, MoveNames> {
  const { migrationNetworks } = networks;
  return {
    liveMigrationGet: () => networks.liveMigration(),
    async liveMigrationSet({ body }) {
      const after = await networks.setLiveMigration(body);
      jobs.nudge();
      return after;
    },
    async hostMigrationGet({ params }) {
      const host = await migrationNetworks.host(params.host);
      return hostMigrationView(host, await networks.hostMigration(host.id));
    },
    async hostMigrationSet({ params, body }) {
      const host = await migrationNetworks.host(params.host);
      const after = await networks.setHostMigration(host.id, body);
      jobs.nudge();
      return hostMigrationView(host, after);
    },
    async migrationNetworkList({ query }) {
      const rows = await migrationNetworks.list(query);
      return pageOf(rows, ({ host, priority, subnet }) => [host, String(priority).padStart(10, "0"), subnet], query);
    },
    migrationNetworkAdd: ({ params, body }) => migrationNetworks.add(params.host, body),
    migrationNetworkSet: async ({ params, body: { subnet, newSubnet, newPriority } }) => ({
      items: await migrationNetworks.set(params.host, { subnet, newSubnet, newPriority }),
    }),
    async migrationNetworkRemove({ params, query }) {
      await migrationNetworks.remove(params.host, query.subnet);
      return undefined;
    },
  };
}
