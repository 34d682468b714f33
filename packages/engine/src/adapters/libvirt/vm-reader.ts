import { hash } from "node:crypto";
import { describeError } from "@godwit/core";
import {
  type Connection,
  type Domain,
  DomainStatsTypes,
  type DomainStatsRecord,
  GetAllDomainStatsFlags,
  isLibvirtError,
  ListDomainsFlags,
} from "@godwit/libvirt";
import type { VmFacts } from "../../model/vm.ts";
import { orElse } from "./errors.ts";
import { isThrowaway } from "./migration/throwaway.ts";
import { type DiskSizes, type DomainStats, readStats, vmState } from "./stats.ts";
import { type DefinedFacts, definedFacts, undefinedFacts, withSizes } from "./vm-facts.ts";
import { parseDomain, XmlError } from "./xml/index.ts";

interface Known {
  readonly domain: Domain;
  /** Of the text of the definition. */
  readonly digest: string;
  readonly defined: DefinedFacts;
  /** Last given out, and the volatile part that it was made of. */
  facts?: VmFacts;
  made?: string;
  /** The sizes last told; nobody tells them of a VM that is off, unless asked for it alone. */
  sizes: ReadonlyMap<string, DiskSizes>;
}

interface Volatile {
  readonly state: VmFacts["state"];
  readonly persistent: boolean;
  readonly autostart: boolean;
}

/** Every reading asks anew for the definitions of this many of the VMs that seem unchanged, in turn. */
const VERIFY_SHARE = 10;
/** libvirtd reads no further message of a client while 5 are under way. */
const AT_ONCE = 4;

/**
 * Reads VMs cheaply: all states, flags and disk sizes by a handful of bulk calls, and a definition only when it may
 * have changed: the VM is new, was renamed, started or stopped, or `changed` said so. In case that an event was
 * missed, a tenth of the others is verified with each reading, by a digest of the text.
 */
export class VmReader {
  readonly #connection: Connection;
  readonly #warn: (text: string) => void;
  readonly #known = new Map<string, Known>();
  readonly #changed = new Set<string>();
  #turn = 0;

  constructor(connection: Connection, warn: (text: string) => void) {
    this.#connection = connection;
    this.#warn = warn;
  }

  /** The definition of a VM may be another now. */
  changed(vmId: string): void {
    this.#changed.add(vmId);
  }

  allChanged(): void {
    for (const id of this.#known.keys()) this.#changed.add(id);
  }

  async list(signal: AbortSignal): Promise<VmFacts[]> {
    const { remote } = this.#connection;
    const select = async (flags: number): Promise<readonly Domain[]> =>
      (await remote.connectListAllDomains({ needResults: 1, flags }, { signal })).domains;
    const [listed, autostart, transient, stats] = await Promise.all([
      select(0),
      orElse(select(ListDomainsFlags.AUTOSTART), []),
      orElse(select(ListDomainsFlags.TRANSIENT), []),
      this.#stats(signal),
    ]);
    const domains = listed.filter((domain) => !isThrowaway(domain));
    for (const id of new Set(this.#known.keys()).difference(new Set(domains.map(({ uuid }) => uuid)))) this.#known.delete(id);
    await this.#readDefinitions(domains, signal);
    const starts = new Set(autostart.map(({ uuid }) => uuid));
    const vanish = new Set(transient.map(({ uuid }) => uuid));
    const all: VmFacts[] = [];
    for (const domain of domains) {
      const known = this.#known.get(domain.uuid);
      if (!known) continue; // Gone between two of the questions.
      const of = stats.get(domain.uuid);
      const state = of?.state ?? (await this.#state(domain, signal));
      const told: Volatile = {
        state: vmState(state, domain.id),
        persistent: !vanish.has(domain.uuid),
        autostart: starts.has(domain.uuid),
      };
      all.push(facts(known, told, of?.disks));
    }
    return all;
  }

  /** Throws libvirt's NO_DOMAIN. Sizes are told of a VM that is off, too. */
  async one(vmId: string, signal: AbortSignal): Promise<VmFacts> {
    const { remote } = this.#connection;
    this.#changed.delete(vmId);
    const domain = await remote.domainLookupByUuid({ uuid: vmId }, { signal });
    const groups = DomainStatsTypes.STATE | DomainStatsTypes.BLOCK;
    const [known, records, persistent, autostart] = await Promise.all([
      this.#readDefinition(domain, signal),
      orElse(remote.connectGetAllDomainStats({ doms: [domain], stats: groups, flags: GetAllDomainStatsFlags.NOWAIT }, { signal }), []),
      orElse(remote.domainIsPersistent({ dom: domain }, { signal }), 1),
      orElse(remote.domainGetAutostart({ dom: domain }, { signal }), 0),
    ]);
    const stats = records[0] && readStats(records[0].params);
    const state = stats?.state ?? (await this.#state(domain, signal));
    return facts(known, { state: vmState(state, domain.id), persistent: persistent !== 0, autostart: autostart !== 0 }, stats?.disks);
  }

  /** The states of all, and the disk sizes of those that run. `NOWAIT`: one busy VM must not hold up the others. */
  async #stats(signal: AbortSignal): Promise<Map<string, DomainStats>> {
    const { remote } = this.#connection;
    const ask = (stats: number, filter: number): Promise<readonly DomainStatsRecord[]> =>
      orElse(remote.connectGetAllDomainStats({ doms: [], stats, flags: GetAllDomainStatsFlags.NOWAIT | filter }, { signal }), []);
    const [off, active] = await Promise.all([
      ask(DomainStatsTypes.STATE, GetAllDomainStatsFlags.INACTIVE),
      ask(DomainStatsTypes.STATE | DomainStatsTypes.BLOCK, GetAllDomainStatsFlags.ACTIVE),
    ]);
    return new Map([...off, ...active].map(({ dom, params }) => [dom.uuid, readStats(params)]));
  }

  async #state(dom: Domain, signal: AbortSignal): Promise<number | undefined> {
    return (await orElse(this.#connection.remote.domainGetState({ dom, flags: 0 }, { signal }), undefined))?.state;
  }

  async #readDefinitions(domains: readonly Domain[], signal: AbortSignal): Promise<void> {
    this.#turn = (this.#turn + 1) % VERIFY_SHARE;
    const wanted = domains.filter((domain, index) => this.#mayDiffer(domain) || index % VERIFY_SHARE === this.#turn).values();
    const worker = async (): Promise<void> => {
      for (const domain of wanted) {
        this.#changed.delete(domain.uuid);
        try {
          await this.#readDefinition(domain, signal);
        } catch (error) {
          if (!isLibvirtError(error)) throw error;
          if (!isLibvirtError(error, "NO_DOMAIN")) this.#warn(`${domain.name}: no definition: ${describeError(error)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  /** A domain has another id with each start and none while it is off. */
  #mayDiffer(domain: Domain): boolean {
    const known = this.#known.get(domain.uuid);
    return !known || known.domain.id !== domain.id || known.domain.name !== domain.name || this.#changed.has(domain.uuid);
  }

  async #readDefinition(domain: Domain, signal: AbortSignal): Promise<Known> {
    const xml = await this.#connection.remote.domainGetXmlDesc({ dom: domain, flags: 0 }, { signal });
    const digest = hash("sha1", xml, "base64");
    const before = this.#known.get(domain.uuid);
    const same = before?.digest === digest;
    const known: Known = {
      domain,
      digest,
      defined: same ? before.defined : this.#define(domain, xml),
      sizes: before?.sizes ?? new Map(),
      ...(same && before.facts && before.made !== undefined && { facts: before.facts, made: before.made }),
    };
    this.#known.set(domain.uuid, known);
    return known;
  }

  #define(domain: Domain, xml: string): DefinedFacts {
    try {
      return definedFacts(parseDomain(xml));
    } catch (error) {
      if (!(error instanceof XmlError)) throw error;
      this.#warn(`${domain.name}: the definition cannot be read: ${describeError(error)}`);
      return undefinedFacts(domain.uuid, domain.name);
    }
  }
}

/** The very object of last time when nothing changed, so that nobody has to compare. */
function facts(known: Known, told: Volatile, sizes: ReadonlyMap<string, DiskSizes> | undefined): VmFacts {
  if (sizes && sizes.size > 0) known.sizes = sizes;
  const made = JSON.stringify([told, [...known.sizes]]);
  if (known.facts && known.made === made) return known.facts;
  // libvirt keeps the last state of the agent's channel in some cases; without a guest there is no agent.
  const agent = known.defined.agent === "connected" && told.state === "off" ? "disconnected" : known.defined.agent;
  known.facts = { ...known.defined, ...told, agent, disks: withSizes(known.defined.disks, known.sizes) };
  known.made = made;
  return known.facts;
}
