import type { NetworkVerdict } from "../model/network.ts";
import type { Check, Reason } from "../model/reason.ts";

/** What was asked for, with ids instead of names. It is the job's input. */
export type MigrationInput = {
  readonly vmId: string;
  readonly vm: string;
  readonly sourceId: string;
  readonly source: string;
  readonly destinationId: string;
  readonly destination: string;
  readonly storagePool?: string;
  readonly peerToPeer: boolean;
  readonly bandwidthBytesPerSecond?: number;
  readonly autoConverge: boolean;
  readonly maximumPauseMs?: number;
};

/** As a client asks. Hosts and VM by id or name. */
export interface MigrationWish {
  readonly vm: string;
  readonly to: string;
  readonly storagePool?: string | undefined;
  readonly peerToPeer?: boolean | undefined;
  readonly bandwidthBytesPerSecond?: number | undefined;
  readonly autoConverge?: boolean | undefined;
  readonly maximumPauseMs?: number | undefined;
}

export interface MigrationPlan {
  readonly vmId: string;
  readonly vm: string;
  readonly sourceId: string;
  readonly source: string;
  readonly destinationId: string;
  readonly destination: string;
  readonly kind: "live" | "shared-nothing";
  readonly networks: NetworkVerdict[];
  readonly checks: Check[];
  readonly possible: boolean;
}

/** What the executor needs of a plan besides what the admin sees. */
export interface ReadyPlan {
  readonly plan: MigrationPlan;
  readonly copyTargets: readonly string[];
  /** Where the copies will be on the destination, and where they come from. */
  readonly copyPaths: readonly string[];
  readonly sourcePaths: readonly string[];
  readonly sharingProven: boolean;
}

/** Bytes since the start of the move. */
export interface InterfaceProof {
  readonly hostId: string;
  readonly host: string;
  readonly interface: string;
  readonly networkId?: string;
  readonly network?: string;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

export interface MigrationAttempt {
  readonly networkId: string;
  readonly network: string;
  readonly destinationAddress: string;
  readonly outcome: "carried" | "no-connection" | "failed" | "cancelled";
  readonly reason: Reason;
}

/** Times RFC 3339 or in milliseconds, sizes in bytes. */
export interface MigrationResult {
  readonly vmId: string;
  readonly vm: string;
  readonly source: string;
  readonly destination: string;
  readonly kind: "live" | "shared-nothing";
  readonly driver: "server" | "peer-to-peer";
  readonly networkId: string;
  readonly network: string;
  readonly destinationAddress: string;
  readonly attempts: readonly MigrationAttempt[];
  readonly startedAt: string;
  readonly endedAt: string;
  readonly totalMs: number;
  readonly pauseMs?: number;
  readonly rounds?: number;
  readonly dirtyBytesPerSecond?: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly interfaces: readonly InterfaceProof[];
  readonly proof: string;
}
