import { CompareCpuFlags, type Connection, isLibvirtError, type NodeGetMemoryStatsResult } from "@godwit/libvirt";
import { basename } from "node:path";
import type { DestinationFacts, PoolThere, SourceFacts, WantedThere } from "../../../ports/migration.ts";
import { parseDomain, parseDomainCapabilities, parsePool } from "../xml/index.ts";
import { findDomain, type LibvirtAccess, saying, unlessRefused } from "./access.ts";
import type { Definition } from "./source.ts";

/** What has to be known of a VM that is to come: it need not run anywhere. */
export interface ComingVm extends Pick<SourceFacts, "nics"> {
  readonly vm: Pick<SourceFacts["vm"], "id" | "name">;
  readonly disks: readonly Pick<SourceFacts["disks"][number], "target" | "path">[];
  readonly files?: readonly string[];
  readonly definition: unknown;
}

/** Asks the destination about a VM that is to come. Changes nothing. */
export async function judgeOn(host: LibvirtAccess, source: ComingVm, wanted: WantedThere, signal: AbortSignal): Promise<DestinationFacts> {
  const { connection } = host;
  const definition = source.definition as Definition;
  const namesIn = (pool: string): string[] =>
    wanted.copies.flatMap((copy) =>
      copy.pool === pool ? basename(source.disks.find(({ target }) => target === copy.target)?.path ?? "") : [],
    );
  const [identity, cpu, machine, freeMemoryBytes, nics, filesOfOthers, pools] = await Promise.all([
    readIdentity(connection, source, signal),
    compareCpu(connection, definition, signal),
    readMachine(connection, definition, signal),
    readFreeMemory(connection, signal),
    readNics(connection, source, wanted.networks, signal),
    readFilesOfOthers(connection, source, signal),
    Promise.all([...new Set(wanted.copies.map(({ pool }) => pool))].map((pool) => readPool(connection, pool, namesIn(pool), signal))),
  ]);
  return { ...identity, cpu, machine, freeMemoryBytes, nics, filesOfOthers, pools };
}

/** What changes soonest of what {@link judgeOn} says. */
export async function judgeAgainOn(
  connection: Connection,
  source: ComingVm,
  signal: AbortSignal,
): Promise<Pick<DestinationFacts, "sameUuid" | "sameName" | "freeMemoryBytes">> {
  const [identity, freeMemoryBytes] = await Promise.all([readIdentity(connection, source, signal), readFreeMemory(connection, signal)]);
  return { sameUuid: undefined, sameName: undefined, ...identity, freeMemoryBytes };
}

async function readIdentity(
  connection: Connection,
  { vm }: ComingVm,
  signal: AbortSignal,
): Promise<Pick<DestinationFacts, "sameUuid" | "sameName">> {
  const [same, named] = await Promise.all([
    findDomain(connection, vm.id, signal),
    unlessRefused(connection.remote.domainLookupByName({ name: vm.name }, { signal })),
  ]);
  return {
    ...(same && { sameUuid: { name: same.name, active: same.id >= 0 } }),
    ...(named && named.uuid !== vm.id && { sameName: named.uuid }),
  };
}

/** libvirt names the features after the last colon of its refusal. */
function missingFeatures(message: string): string[] {
  const list = /features?:\s*([\w.,\s-]+)$/.exec(message)?.[1] ?? "";
  return list.split(/[,\s]+/).filter((name) => name !== "");
}

async function compareCpu(connection: Connection, { live, liveXml }: Definition, signal: AbortSignal): Promise<DestinationFacts["cpu"]> {
  const xmlCPU = /<cpu[\s>][\s\S]*?<\/cpu>|<cpu[^>]*\/>/.exec(liveXml)?.[0];
  if (xmlCPU === undefined || live.cpu.mode === "default")
    return { fits: true, missing: [], text: "it uses the hypervisor's default CPU model" };
  if (live.cpu.mode === "host-passthrough" || live.cpu.mode === "maximum") {
    return { fits: "unknown", missing: [], text: `its CPU mode is ${live.cpu.mode}: only identical processors are safe` };
  }
  const { emulator = null, arch = null, machine = null, type } = live;
  try {
    await connection.remote.connectCompareHypervisorCpu(
      { emulator, arch, machine, virttype: type, xmlCPU, flags: CompareCpuFlags.FAIL_INCOMPATIBLE },
      { signal },
    );
    return { fits: true, missing: [], text: `it can give the guest its CPU model ${live.cpu.model ?? live.cpu.mode}` };
  } catch (error) {
    if (isLibvirtError(error, "CPU_INCOMPATIBLE")) return { fits: false, missing: missingFeatures(error.message), text: error.message };
    if (isLibvirtError(error)) return { fits: "unknown", missing: [], text: `the CPUs could not be compared: ${saying(error)}` };
    throw error;
  }
}

async function readMachine(connection: Connection, { live }: Definition, signal: AbortSignal): Promise<DestinationFacts["machine"]> {
  const { emulator = null, arch = null, machine = null, type } = live;
  try {
    const xml = await connection.remote.connectGetDomainCapabilities(
      { emulatorbin: emulator, arch, machine, virttype: type, flags: 0 },
      { signal },
    );
    const capabilities = parseDomainCapabilities(xml);
    if (live.tpms.some(({ backend }) => backend === "emulator") && !capabilities.tpmBackends.includes("emulator"))
      return { known: false, text: "it cannot emulate the VM's TPM: install swtpm and swtpm-tools there" };
    return {
      known: true,
      text: `it has ${capabilities.emulator} with machine type ${capabilities.machine ?? machine ?? "default"} (${type})`,
    };
  } catch (error) {
    if (isLibvirtError(error))
      return { known: false, text: `it cannot run ${type} guests of machine type ${machine ?? "default"}: ${saying(error)}` };
    throw error;
  }
}

const allCells = -1;

/** How many figures each connection's daemon has: it answers with them only to whoever names their exact number. */
const figures = new WeakMap<Connection, number>();

/** Free memory and what the kernel would give up for a guest, in bytes. */
async function readFreeMemory(connection: Connection, signal: AbortSignal): Promise<number | undefined> {
  const ask = async (nparams: number): Promise<NodeGetMemoryStatsResult | undefined> =>
    unlessRefused(connection.remote.nodeGetMemoryStats({ nparams, cellNum: allCells, flags: 0 }, { signal }));
  const nparams = figures.get(connection) ?? (await ask(0))?.nparams ?? 0;
  const stats = await ask(nparams);
  if (stats && nparams > 0) figures.set(connection, nparams);
  if (!stats) return undefined;
  const kib = new Map(stats.params.map(({ field, value }) => [field, Number(value)]));
  const free = kib.get("free");
  return free === undefined ? undefined : (free + (kib.get("buffers") ?? 0) + (kib.get("cached") ?? 0)) * 1024;
}

async function readNics(
  connection: Connection,
  { nics }: ComingVm,
  networks: WantedThere["networks"],
  signal: AbortSignal,
): Promise<DestinationFacts["nics"]> {
  const wanted = new Map(
    nics.flatMap(({ type, source }) => {
      if (source === undefined) return [];
      const there = networks[source] ?? source;
      return [[`${type} ${there}`, { type, source: there }] as const];
    }),
  );
  return Promise.all(
    [...wanted.values()].map(async (nic) => {
      if (nic.type !== "network") return { ...nic, present: "unknown" as const };
      const network = await unlessRefused(connection.remote.networkLookupByName({ name: nic.source }, { signal }));
      const active = network && (await unlessRefused(connection.remote.networkIsActive({ net: network }, { signal })));
      return { ...nic, present: active === 1 };
    }),
  );
}

async function readFilesOfOthers(
  connection: Connection,
  { vm, files = [] }: ComingVm,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (files.length === 0) return {};
  const { domains } = await connection.remote.connectListAllDomains({ needResults: 1, flags: 0 }, { signal });
  const others = await Promise.all(
    domains
      .filter(({ uuid }) => uuid !== vm.id)
      .map(async (dom): Promise<[string, string][]> => {
        const xml = await unlessRefused(connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
        const used = xml === undefined ? undefined : parseDomain(xml).firmware.nvram;
        return used !== undefined && files.includes(used) ? [[used, dom.name]] : [];
      }),
  );
  return Object.fromEntries(others.flat());
}

async function readPool(connection: Connection, name: string, names: readonly string[], signal: AbortSignal): Promise<PoolThere> {
  const { remote } = connection;
  const pool = await unlessRefused(remote.storagePoolLookupByName({ name }, { signal }));
  if (!pool) return { name, present: false, active: false, availableBytes: 0, taken: [] };
  await unlessRefused(remote.storagePoolRefresh({ pool, flags: 0 }, { signal }));
  const [xml, info, active] = await Promise.all([
    remote.storagePoolGetXmlDesc({ pool, flags: 0 }, { signal }),
    remote.storagePoolGetInfo({ pool }, { signal }),
    remote.storagePoolIsActive({ pool }, { signal }),
  ]);
  const volumes = await Promise.all(
    names.map((volume) => unlessRefused(remote.storageVolLookupByName({ pool, name: volume }, { signal }))),
  );
  const duplicates = names.filter((one, index) => names.indexOf(one) !== index);
  return {
    name,
    present: true,
    active: active === 1,
    path: parsePool(xml).path,
    availableBytes: Number(info.available),
    taken: [...names.filter((_, index) => volumes[index] !== undefined), ...duplicates],
  };
}
