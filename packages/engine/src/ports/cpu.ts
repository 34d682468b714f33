interface Cancellable {
  readonly signal: AbortSignal;
}

/** A CPU as a hypervisor describes it for guests. */
export interface CpuDescription {
  readonly model?: string | undefined;
  readonly vendor?: string | undefined;
  /** Every feature that a guest with it sees, sorted. */
  readonly features: readonly string[];
  /** For the same kind of hypervisor, and for a VM's definition. */
  readonly document: string;
}

/** The CPU side of a host. Everything rejects with an `EngineError`: `host-lost`, or `hypervisor` when it says no. */
export interface HostCpu {
  /** What guests can be given here at most. */
  offered(options: Cancellable): Promise<CpuDescription>;
  /** What all of these have in common, as this host names it. */
  common(cpus: readonly CpuDescription[], options: Cancellable): Promise<CpuDescription>;
  /**
   * What a running VM was given: features by name, `host` for all that its host has, `default` for the hypervisor's
   * own least model, which every host gives.
   */
  given(vmId: string, options: Cancellable): Promise<readonly string[] | "host" | "default">;
}
