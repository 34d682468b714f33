import type { NetworkView } from "../model/network.ts";
import type { CounterReading } from "../network/facts.ts";
import type { InterfaceProof } from "./model.ts";

/** Counters of one host before and after the move. */
export interface HostCounters {
  readonly hostId: string;
  readonly host: string;
  readonly before: CounterReading;
  readonly after: CounterReading;
}

/**
 * Bytes that each interface of a cluster network carried during the move, on both hosts, most first. A
 * counter that went back (the interface was made anew) counts from zero.
 */
export function interfaceProofs(hosts: readonly HostCounters[], networks: readonly NetworkView[]): InterfaceProof[] {
  const proofs = hosts.flatMap(({ hostId, host, before, after }) =>
    after.interfaces.flatMap((now) => {
      const network = networks.find((one) => one.interfaces.some((entry) => entry.hostId === hostId && entry.interface === now.name));
      if (!network) return [];
      const then = before.interfaces.find((entry) => entry.name === now.name);
      const grown = (from: number | undefined, to: number): number => (from !== undefined && from <= to ? to - from : to);
      return [
        {
          hostId,
          host,
          interface: now.name,
          networkId: network.id,
          network: network.name,
          receivedBytes: grown(then?.receivedBytes, now.receivedBytes),
          sentBytes: grown(then?.sentBytes, now.sentBytes),
        },
      ];
    }),
  );
  return proofs.sort((a, b) => b.sentBytes + b.receivedBytes - (a.sentBytes + a.receivedBytes));
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/**
 * One sentence: did the chosen network carry the stream? `moved` is what the hypervisor says it sent. What
 * the source's interface sent must cover that; another network that carried as much would be a contradiction.
 */
export function proofSentence(
  proofs: readonly InterfaceProof[],
  move: { readonly sourceId: string; readonly destinationId: string; readonly networkId: string; readonly movedBytes: number },
): string {
  if (proofs.length === 0) return "not proven: no interface counters could be read from the hosts";
  const sent = proofs.find((proof) => proof.hostId === move.sourceId && proof.networkId === move.networkId);
  const received = proofs.find((proof) => proof.hostId === move.destinationId && proof.networkId === move.networkId);
  const others = proofs.filter((proof) => proof.hostId === move.sourceId && proof.networkId !== move.networkId);
  const elsewhere = Math.max(0, ...others.map((proof) => proof.sentBytes));
  if (!sent || !received) return "not proven: one of both hosts did not tell its counters";
  const text = `${sent.host} ${sent.interface} sent ${mib(sent.sentBytes)} and ${received.host} ${received.interface} received ${mib(received.receivedBytes)} over ${sent.network ?? ""}`;
  const covered = sent.sentBytes >= move.movedBytes * 0.95 && received.receivedBytes >= move.movedBytes * 0.95;
  if (!covered) return `NOT proven: ${text}, less than the ${mib(move.movedBytes)} that the hypervisor moved`;
  return `${text}; every other network of ${sent.host} together sent at most ${mib(others.length > 0 ? others.reduce((sum, proof) => sum + proof.sentBytes, 0) : elsewhere)}`;
}
