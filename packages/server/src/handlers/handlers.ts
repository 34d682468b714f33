import type { RouteName } from "@godwit/api";
import type { ApiRequest, Handlers } from "../http/contract.ts";
import type { Services } from "../services.ts";
import type { Changes } from "./changes.ts";
import { backupTrafficHandlers } from "./backup-traffic.ts";
import { inventoryHandlers } from "./inventory.ts";
import { jobHandlers } from "./jobs.ts";
import { migrationHandlers } from "./migration.ts";
import { networkHandlers } from "./networks.ts";
import { placementHandlers } from "./placement.ts";
import { validationHandlers } from "./validation.ts";
import { protectionGroupHandlers } from "./protection-groups.ts";
import { protectionHandlers } from "./protection.ts";
import { jobView } from "./views.ts";

export interface ServerFacts {
  readonly version: string;
  /** RFC 3339. */
  readonly startedAt: string;
}

/** What answers each operation of the contract. */
export function handlersOf(services: Services, changes: Changes, server: ServerFacts): Handlers {
  return repeatable(services, {
    ...inventoryHandlers(services),
    ...networkHandlers(services),
    ...migrationHandlers(services),
    ...placementHandlers(services),
    ...validationHandlers(services),
    ...backupTrafficHandlers(services),
    ...protectionHandlers(services),
    ...protectionGroupHandlers(services),
    ...jobHandlers(services),
    serverInfo: () => ({ ...server, apiVersion: "v1", pid: process.pid }),
    doctor: ({ signal }) => services.doctor({ signal }),
    apply: ({ body, signal }) => services.cluster.apply(body.document, { fileName: body.fileName, dryRun: body.dryRun, signal }),
    async events({ lastEventId, signal }) {
      return numbered(changes.subscribe({ signal, missed: lastEventId !== undefined }), server.startedAt);
    },
  });
}

type AnyHandler = (request: ApiRequest<RouteName>) => unknown;

/** A repeated request finds the job of the first one, whatever has become of the things that it names. */
function repeatable({ jobs }: Services, handlers: Handlers): Handlers {
  const all = Object.entries(handlers as unknown as Readonly<Record<string, AnyHandler>>).map(([name, handler]): [string, AnyHandler] => [
    name,
    async (request) => {
      const before = request.idempotencyKey && (await jobs.repeated(request.idempotencyKey));
      return before ? jobView(before) : handler(request);
    },
  ]);
  return Object.fromEntries(all) as unknown as Handlers;
}

/** An id says that there were events before; which they were does not matter, see docs/api.md. */
async function* numbered<T>(events: AsyncIterable<T>, run: string): AsyncGenerator<{ id: string; data: T }, void, undefined> {
  let number = 0;
  for await (const data of events) yield { id: `${run}/${(number += 1)}`, data };
}
