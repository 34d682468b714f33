import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request, type RequestOptions } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openApiDocument } from "@godwit/api";
import { systemClock } from "@godwit/core";
import {
  Alerts,
  defaultBackupTraffic,
  EngineError,
  type FoundPoint,
  type HostView,
  type InventoryChange,
  type JobKind,
  JobRunner,
  type NetworkView,
  noPlacementSettings,
  type PoolView,
  ProtectionGroups,
  type VmView,
} from "@godwit/engine";
import pino, { type Logger } from "pino";
import { Changes } from "../src/handlers/changes.ts";
import { handlersOf } from "../src/handlers/handlers.ts";
import { Entrances } from "../src/http/access.ts";
import { App, type AppOptions } from "../src/http/app.ts";
import { listenUnix } from "../src/listen/unix.ts";
import { Metrics } from "../src/metrics.ts";
import type { Services } from "../src/services.ts";
import { SqliteStore } from "../src/store/sqlite/store.ts";

const at = "2026-01-01T00:00:00.000Z";
const reason = { code: "test", text: "as the test says" };

export const host: HostView = {
  id: "h1",
  name: "alpha",
  uri: "qemu+ssh://root@alpha/system",
  state: "up",
  stateSince: at,
  reason,
  facts: undefined,
  factsAt: undefined,
  vms: { total: 1, running: 1 },
};

export function vm(n: number, change: Partial<VmView> = {}): VmView {
  return {
    id: `v${n}`,
    name: `vm-${String(n).padStart(4, "0")}`,
    state: "running",
    lastKnownState: "running",
    hostId: "h1",
    host: "alpha",
    seenAt: at,
    persistent: true,
    autostart: false,
    vcpus: 1,
    memoryBytes: 1 << 28,
    cpu: { mode: "host-model" },
    domainType: "kvm",
    agent: "none",
    disks: [],
    nics: [],
    ...change,
  };
}

const networkInterface = {
  networkId: "n1",
  network: "lan",
  hostId: "h1",
  host: "alpha",
  interface: "eth0",
  addresses: ["10.0.0.1/24"],
  mtu: 1500,
  linkUp: true,
  state: "up",
  reason,
} as const;

export const network: NetworkView = {
  id: "n1",
  name: "lan",
  description: "",
  subnets: ["10.0.0.0/24"],
  role: "cluster",
  metric: 1000,
  autoMetric: true,
  metricReason: reason,
  state: "up",
  stateReason: reason,
  interfaces: [{ ...networkInterface, addresses: [...networkInterface.addresses] }],
};

const pool: PoolView = {
  hostId: "h1",
  host: "alpha",
  name: "default",
  uuid: "p1",
  type: "dir",
  active: true,
  capacityBytes: 3,
  allocatedBytes: 1,
  availableBytes: 2,
};
const verdict = { networkId: "n1", network: "lan", rank: 1, verdict: "chosen", reason } as const;
const hostMigration = { useAnyNetwork: true, maximumLiveMigrations: 2, maximumStorageMigrations: 2, networks: [] };
const entry = { hostId: "h1", host: "alpha", subnet: "10.0.0.0/24", priority: 0, managedBy: "admin" };

const vault = {
  id: "vault1",
  name: "safe",
  location: "/srv/vault",
  passphraseFile: "/etc/godwit/safe",
  addedAt: "2026-01-01T00:00:00.000Z",
};
const point: FoundPoint["point"] = {
  id: "p1",
  name: "web",
  time: "2026-01-02T00:00:00.000Z",
  grid: 65_536,
  consistency: { level: "filesystem", evidence: ["the agent froze 1 file system"] },
  disks: [{ name: "vda", size: 1, logicalSector: 512, physicalSector: 512, levels: 1, root: "00" }],
  reasons: [],
  figures: { readBytes: 1 },
};

/** A feed of changes that a test pushes. */
export class Feed<T> {
  readonly #queue: T[] = [];
  #wake: (() => void) | undefined;

  push(...changes: T[]): void {
    this.#queue.push(...changes);
    this.#wake?.();
  }

  async *read({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<T> {
    signal.addEventListener("abort", () => this.#wake?.());
    while (!signal.aborted) {
      yield* this.#queue.splice(0);
      if (this.#queue.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function find<T extends { readonly id: string; readonly name: string }>(what: string, ref: string, items: readonly T[]): T {
  const found = items.find(({ id, name }) => id === ref || name === ref);
  if (!found) throw new EngineError("not-found", `there is no ${what} '${ref}'`, { [what]: ref });
  return found;
}

export interface World {
  vms: VmView[];
  readonly changes: Feed<InventoryChange>;
  /** Thrown by `hostGet`, whatever was asked. */
  error: unknown;
  readonly run: { body: JobKind["run"] };
}

function fakeServices(world: World, jobs: JobRunner, { groups, alerts }: Pick<Services, "groups" | "alerts">): Services {
  const entries: Services["networks"]["backupNetworks"] = {
    host: async (ref) => find("host", ref, [host]),
    list: async () => [entry],
    add: async () => entry,
    set: async () => [entry],
    remove: async () => [entry],
  };
  return {
    inventory: {
      hosts: () => [host],
      host: (ref) => {
        if (world.error !== undefined) throw world.error;
        return find("host", ref, [host]);
      },
      vms: () => world.vms,
      vm: (ref) => find("vm", ref, world.vms),
      pools: () => [pool],
      addHost: async () => host,
      removeHost: async () => undefined,
      changes: (options) => world.changes.read(options),
    },
    networks: {
      list: () => [network],
      get: (ref) => find("network", ref, [network]),
      edit: async () => network,
      refresh: async () => undefined,
      interfaces: () => network.interfaces,
      liveMigration: async () => ({ order: [], exclude: [] }),
      setLiveMigration: async () => ({ order: ["n1"], exclude: [] }),
      hostMigration: async () => hostMigration,
      setHostMigration: async () => hostMigration,
      verdicts: async () => [verdict],
      backupTraffic: async () => defaultBackupTraffic,
      setBackupTraffic: async () => ({ ...defaultBackupTraffic, order: ["n1"] }),
      backupVerdicts: async () => [verdict],
      changes: (options) => new Feed<never>().read(options),
      migrationNetworks: entries,
      backupNetworks: entries,
    },
    jobs,
    groups,
    alerts,
    alertChanges: (options) => new Feed<never>().read(options),
    migrations: {
      plan: async () => ({
        vmId: "v1",
        vm: "web",
        sourceId: "h1",
        source: "alpha",
        destinationId: "h2",
        destination: "beta",
        kind: "live",
        copies: [],
        networks: [verdict],
        checks: [],
        possible: true,
      }),
      ensureGenerationId: async (ref) => ({ vmId: ref, vm: ref, host: "alpha", outcome: "added" }),
      jobInput: (ref, { to }) => ({ vmId: ref, vm: ref, to }),
      storageJobInput: (ref, { to }) => ({ vmId: ref, vm: ref, to }),
    },
    protection: {
      vaults: async () => [vault],
      addVault: async () => vault,
      removeVault: async () => undefined,
      captureInput: async (wish) => ({
        vmId: wish.vm,
        vm: wish.vm,
        vaultId: wish.vault,
        vault: wish.vault,
        onMigration: "park",
        atLeast: "crash",
      }),
      recoverInput: async (wish) => ({
        mode: "new",
        pointId: wish.point,
        vaultId: vault.id,
        vault: vault.name,
        captured: "web",
        hostId: "h1",
        host: "alpha",
        vmId: "v1",
        vm: "web",
        newIdentity: false,
        networks: {},
        start: false,
      }),
      routes: async () => [{ kind: "ssh", reason: { code: "ssh", text: "through the SSH session" } }],
      filesInput: async (wish) => ({ vmId: wish.vm, vm: wish.vm, vaultId: wish.vault, vault: wish.vault, set: "files", paths: wish.paths }),
      filesRecoverInput: async (wish) => ({
        pointId: wish.point,
        vaultId: vault.id,
        vault: vault.name,
        vmId: wish.vm,
        vm: wish.vm,
        into: wish.into,
      }),
      keptImages: async () => [
        { id: "j1", vmId: "v1", vm: "web", hostId: "h1", host: "alpha", paths: ["/srv/old.qcow2"], since: at, until: "boots" },
      ],
      confirmInput: async (ref) => ({ vmId: ref, vm: ref, kept: ["j1"], proof: "said so" }),
      points: async () => [{ point, vault }],
      point: async (ref) => ({ point: find("point", ref, [point]), vault }),
    },
    validation: {
      baseline: async () => ({ features: ["avx"], hosts: [], vms: [], text: "all alike" }),
      compare: async (ref) => ({ vmId: ref, vm: ref, host: "alpha", hosts: [] }),
      trialsInput: () => ({ hosts: [{ id: "h1", name: "alpha" }] }),
      validate: async () => ({ startedAt: at, endedAt: at, hosts: ["alpha"], verdict: "pass", tests: [] }),
    },
    placement: {
      settings: async () => noPlacementSettings,
      replaceSettings: async (settings) => settings,
      contract: async () => ({}),
      choose: async (ref) => ({ vmId: ref, vm: ref, hostId: "h2", host: "beta", reason, hosts: [] }),
      drainPlan: async () => ({
        hostId: "h1",
        host: "alpha",
        entries: [],
        room: [],
        concurrency: 1,
        scheduledMs: 0,
        predictedMs: 0,
        possible: true,
      }),
      balancePlan: async () => ({ moves: [], loads: [], reason: "even" }),
      maintenance: () => ({ hostId: "h1", state: "drained", since: at, reason, jobId: "j1", moved: [] }),
    },
    cluster: { apply: async (_, { dryRun }) => ({ dryRun, changes: [] }) },
    doctor: async () => ({ sections: [{ subject: "server", checks: [] }] }),
  };
}

export interface Rig extends AsyncDisposable {
  readonly world: World;
  readonly jobs: JobRunner;
  readonly app: App;
  readonly socket: string;
  readonly port: number;
  readonly logged: string[];
  call(path: string, options?: CallOptions): Promise<Answer>;
  open(path: string, options?: CallOptions): Promise<IncomingMessage>;
}

export interface CallOptions extends RequestOptions {
  readonly body?: unknown;
  readonly headers?: OutgoingHttpHeaders;
  readonly raw?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export const token = "a-token-of-the-test";

function logger(lines: string[]): Logger {
  return pino({ level: "debug" }, { write: (line: string) => void lines.push(line) });
}

const kindNames = [
  "vm.start",
  "vm.stop",
  "vm.migrate",
  "vm.move-storage",
  "vm.capture",
  "vm.recover",
  "vm.confirm-recovery",
  "vm.capture-files",
  "vm.recover-files",
  "host.drain",
  "host.resume",
  "cluster.balance",
  "cluster.try-migrations",
] as const;

function kindOf(kind: string, world: World): JobKind {
  return {
    kind,
    title: (input) => `${kind} ${JSON.stringify(input["vm"])}`,
    subject: (input) => ({ type: "vm", id: JSON.stringify(input["vmId"] ?? kind).replaceAll('"', ""), name: "web" }),
    locks: () => [],
    slots: () => [],
    run: (context) => world.run.body(context),
  };
}

/** The HTTP layer on real sockets over a real job runner and store; inventory and networks are a test's. */
export async function httpRig(options: Partial<Pick<AppOptions, "heartbeatMs" | "stalledMs">> = {}): Promise<Rig> {
  await using stack = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "godwit-http-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const logged: string[] = [];
  const log = logger(logged);
  const world: World = { vms: [vm(1)], changes: new Feed(), error: undefined, run: { body: async () => "done" } };
  const store = stack.use(await SqliteStore.open(join(folder, "godwit.db")));
  const kinds = kindNames.map((kind) => kindOf(kind, world));
  const jobs = stack.use(new JobRunner({ store: store.jobs, clock: systemClock, owner: "test", kinds, log }));
  await jobs.start();
  const alerts = new Alerts({ alerts: store.alerts, clock: systemClock, send: async () => undefined, log });
  const groups = new ProtectionGroups({
    groups: store.groups,
    members: store.groupMembers,
    hosts: { vms: () => world.vms, hosts: () => [host] },
    jobs,
    vaults: { find: async () => vault },
    clock: systemClock,
    log,
  });
  const services = fakeServices(world, jobs, { groups, alerts });
  const changes = new Changes(services, log);
  const metrics = new Metrics(services);
  const stop = new AbortController();
  const running = Promise.all([changes.run({ signal: stop.signal }), metrics.run(services, { signal: stop.signal })]);
  stack.defer(async () => {
    stop.abort();
    await running;
  });
  const entrances = new Entrances();
  const app = new App({
    ...options,
    handlers: handlersOf(services, changes, { version: "0.0.0", startedAt: at }),
    log,
    entrance: (message) => entrances.of(message),
    openApi: () => openApiDocument("0.0.0"),
    metrics: () => metrics.text(),
    checkAnswers: true,
  });
  await app.fastify.ready();
  const hosts: string[] = [];
  const servers = [createServer((q, s) => app.fastify.routing(q, s)), createServer((q, s) => app.fastify.routing(q, s))] as const;
  const [unix, tcp] = servers;
  unix.on("connection", (socket) => entrances.admit(socket, { kind: "unix" }));
  tcp.on("connection", (socket) => entrances.admit(socket, { kind: "tcp", token, hosts }));
  const socket = join(folder, "s.sock");
  await listenUnix(unix, socket);
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", () => resolve()));
  const { port } = tcp.address() as AddressInfo;
  hosts.push(`127.0.0.1:${port}`, `localhost:${port}`);
  stack.defer(() => {
    app.stop();
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  });
  const open = (path: string, { body, raw, ...rest }: CallOptions = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
      const headers = { ...(text === undefined ? {} : { "content-type": "application/json" }), ...rest.headers };
      const to = rest.port === undefined ? { socketPath: socket } : { host: "127.0.0.1" };
      request({ ...to, path, method: text === undefined ? "GET" : "POST", ...rest, headers }, resolve)
        .on("error", reject)
        .end(text);
    });
  const call = async (path: string, options?: CallOptions): Promise<Answer> => {
    const message = await open(path, options);
    const text = (await Array.fromAsync(message as AsyncIterable<Buffer>)).map((chunk) => chunk.toString()).join("");
    const json = /json/.test(message.headers["content-type"] ?? "");
    return {
      status: message.statusCode ?? 0,
      headers: message.headers,
      text,
      body: (json ? JSON.parse(text) : {}) as Record<string, unknown>,
    };
  };
  const kept = stack.move();
  return { world, jobs, app, socket, port, logged, call, open, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
