import { BaselineCpuFlags, type Connection } from "@godwit/libvirt";
import { EngineError } from "../../model/errors.ts";
import type { CpuDescription, HostCpu } from "../../ports/cpu.ts";
import type { HypervisorHost } from "../../ports/hypervisor.ts";
import { engineError } from "./errors.ts";
import { cpuDocument, given } from "./facts.ts";
import { type LibvirtAccess, needDomain } from "./migration/access.ts";
import { parseCapabilities, parseCpu, parseDomain, parseDomainCapabilities } from "./xml/index.ts";

interface Query {
  readonly arch: string;
  readonly virttype: "kvm" | "qemu";
}

/** The CPU side of a libvirt host. `virttype` is the kind of guests that it really runs. */
export function libvirtCpu(host: HypervisorHost, virttype: Query["virttype"]): HostCpu {
  if (!("connection" in host)) throw new EngineError("invalid", "libvirt compares the CPUs of libvirt hosts only");
  const { connection } = host as LibvirtAccess;
  const query = async (signal: AbortSignal): Promise<Query> => {
    const { arch } = parseCapabilities(await connection.remote.connectGetCapabilities({ signal }));
    return { arch, virttype };
  };
  return {
    offered: ({ signal }) => asked("the host's CPU model", async () => offered(connection, await query(signal), signal)),
    common: (cpus, { signal }) =>
      asked("the common CPU model", async () => {
        const documents = cpus.map(({ document }) => document);
        return described(connection, documents, await query(signal), signal);
      }),
    given: (vmId, { signal }) => asked(`the CPU of VM ${vmId}`, async () => givenTo(connection, vmId, await query(signal), signal)),
  };
}

async function asked<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw engineError(error, what);
  }
}

async function offered(connection: Connection, query: Query, signal: AbortSignal): Promise<CpuDescription> {
  const text = await connection.remote.connectGetDomainCapabilities({ ...query, emulatorbin: null, machine: null, flags: 0 }, { signal });
  const { hostModel } = parseDomainCapabilities(text);
  if (hostModel?.model === undefined) throw new EngineError("hypervisor", `libvirt names no CPU model for ${query.virttype} guests`);
  return described(connection, [cpuDocument(hostModel)], query, signal);
}

/** Asked twice: libvirt gives either the short form that a definition wants, or every feature. */
async function described(connection: Connection, documents: readonly string[], query: Query, signal: AbortSignal): Promise<CpuDescription> {
  const ask = (flags: number): Promise<string> =>
    connection.remote.connectBaselineHypervisorCpu({ ...query, machine: null, emulator: null, xmlCPUs: [...documents], flags }, { signal });
  const [document, expanded] = [
    await ask(BaselineCpuFlags.MIGRATABLE),
    await ask(BaselineCpuFlags.EXPAND_FEATURES | BaselineCpuFlags.MIGRATABLE),
  ];
  const { model, vendor } = parseCpu(document);
  return { model, vendor, features: given(parseCpu(expanded)).sort(), document };
}

async function givenTo(
  connection: Connection,
  vmId: string,
  query: Query,
  signal: AbortSignal,
): Promise<readonly string[] | "host" | "default"> {
  const dom = await needDomain(connection, vmId, signal);
  const { cpu } = parseDomain(await connection.remote.domainGetXmlDesc({ dom, flags: 0 }, { signal }));
  if (cpu.mode === "default") return "default";
  if (cpu.model === undefined) return "host";
  return (await described(connection, [cpuDocument(cpu)], query, signal)).features;
}
