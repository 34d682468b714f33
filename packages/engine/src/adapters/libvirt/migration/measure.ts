import type { Clock } from "@godwit/core";
import { type Connection, DomainDirtyRateCalcFlags, DomainDirtyRateStatus, DomainMemoryStatTags, DomainStatsTypes } from "@godwit/libvirt";
import type { Measured } from "../../../ports/migration.ts";
import { needDomain, unlessRefused } from "./access.ts";

const maximumStats = 64;
const pollMs = 100;
/** Longer than it was asked for, a measurement is given up. */
const graceMs = 5_000;

/**
 * What the hypervisor keeps of a guest's memory and, asked for `seconds`, how fast the guest changes it. By page
 * sampling only: measuring with the dirty bitmap ends QEMU 7.2 when it emulates.
 */
export async function measure(connection: Connection, vmId: string, seconds: number, clock: Clock, signal: AbortSignal): Promise<Measured> {
  const { remote } = connection;
  const dom = await needDomain(connection, vmId, signal);
  const memory = unlessRefused(remote.domainMemoryStats({ dom, maxStats: maximumStats, flags: 0 }, { signal }));
  memory.catch(() => undefined); // It may be cancelled together with what is waited for first.
  const started =
    seconds > 0 &&
    (await unlessRefused(
      remote.domainStartDirtyRateCalc({ dom, seconds, flags: DomainDirtyRateCalcFlags.PAGE_SAMPLING }, { signal }).then(() => true),
    ));
  const resident = (await memory)?.find(({ tag }) => tag === DomainMemoryStatTags.RSS)?.val;
  const rate =
    started === true ? await awaitRate(connection, vmId, clock.monotonic() + seconds * 1000 + graceMs, clock, signal) : undefined;
  return {
    ...(resident !== undefined && { residentBytes: Number(resident) * 1024 }),
    ...(rate !== undefined && { dirtyBytesPerSecond: rate }),
  };
}

async function awaitRate(
  connection: Connection,
  vmId: string,
  until: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<number | undefined> {
  const dom = await needDomain(connection, vmId, signal);
  while (clock.monotonic() < until) {
    await clock.sleep(pollMs, { signal });
    const [record] =
      (await unlessRefused(connection.getAllDomainStats({ domains: [dom], stats: DomainStatsTypes.DIRTYRATE }, { signal }))) ?? [];
    if (record?.stats["dirtyrate.calc_status"] !== DomainDirtyRateStatus.MEASURED) continue;
    const mib = record.stats["dirtyrate.megabytes_per_second"];
    return mib === undefined ? undefined : Number(mib) * 2 ** 20;
  }
  return undefined;
}
