import type { HostFacts, PoolFacts } from "../model/host.ts";
import type { VmFacts } from "../model/vm.ts";

/** Something changed on a host. It says what to look at again, not what it is now. */
export type HostEvent =
  | { readonly kind: "vm-changed"; readonly vmId: string }
  | { readonly kind: "vm-removed"; readonly vmId: string }
  | { readonly kind: "pools-changed" }
  /** Events were lost: look at everything again. */
  | { readonly kind: "overflow" };

interface Cancellable {
  readonly signal: AbortSignal;
}

/**
 * A connection to one host's hypervisor. Every method rejects with an `EngineError`: `host-lost` when the
 * host does not answer, `not-found` for an unknown VM, `hypervisor` when it says no. After `closed`
 * resolves, every call rejects with `host-lost`; a new connection must be opened.
 */
export interface HypervisorHost extends AsyncDisposable {
  /** The hypervisor's own UUID of the host. */
  readonly uuid: string;
  /** Resolves with the reason once the connection is gone, never rejects. */
  readonly closed: Promise<Error | undefined>;

  facts(options: Cancellable): Promise<HostFacts>;
  /** Every VM, running or only defined. Costs one or two round trips, however many VMs there are. */
  listVms(options: Cancellable): Promise<VmFacts[]>;
  vm(id: string, options: Cancellable): Promise<VmFacts>;
  pools(options: Cancellable): Promise<PoolFacts[]>;
  /** Bounded: says `overflow` instead of growing. Ends when the connection does. */
  events(options: Cancellable): AsyncIterable<HostEvent>;

  start(id: string, options: Cancellable): Promise<void>;
  /** Asks the guest to shut down; resolves when it was asked, not when it is off. */
  shutdown(id: string, options: Cancellable): Promise<void>;
  /** Pulls the plug. */
  turnOff(id: string, options: Cancellable): Promise<void>;
}
