import type { HostView } from "../model/host.ts";

/** What the machine of the server says of itself. Sizes in bytes. */
export interface ServerMachineFacts {
  readonly node: string;
  readonly stateDir: {
    readonly path: string;
    readonly problem?: string | undefined;
    readonly freeBytes?: number | undefined;
    readonly mode?: number | undefined;
  };
  readonly socket: { readonly path: string; readonly mode?: number | undefined };
  /** Undefined when nobody can say. */
  readonly clockSynchronized: boolean | undefined;
  readonly hosts: number;
}

/** What a host's shell told. */
export interface ShellFindings {
  /** Host minus server, milliseconds, give or take `uncertaintyMs`. */
  readonly skewMs: number;
  readonly uncertaintyMs: number;
  readonly hostname: string;
  /** What the host's own name resolves to on it; empty when it does not. */
  readonly resolvesTo: readonly string[];
  /** Resolving took longer than this many seconds and was given up. */
  readonly resolveTimeoutSeconds?: number | undefined;
  readonly tools: readonly string[];
  /** Seconds; `-1` is off; undefined where the default (5) holds. */
  readonly keepaliveInterval?: number | undefined;
  readonly availableMemoryBytes?: number | undefined;
}

/** A try to reach the first port of migrations on one network of a host. */
export interface PortProbe {
  readonly network: string;
  readonly from: string;
  readonly address: string;
  /** `silent`: nothing came back, as behind a firewall that drops. A refusal is `reachable`. */
  readonly outcome: "reachable" | "silent" | "unknown";
}

/** All that is known of a host for a check-up. */
export interface HostFindings {
  readonly host: HostView;
  /** What was found, or why nothing could be. `none`: registered without a way to a shell. */
  readonly shell: ShellFindings | { readonly problem: string } | "none";
  readonly ports: readonly PortProbe[];
}

/**
 * QEMU's default range for incoming migrations in libvirt, which begins with the first. The last one is tried: a
 * connection to a QEMU that waits for a guest would be taken for the migration.
 */
export const migrationPorts = { first: 49_152, last: 49_215, tried: 49_215 } as const;
