import type { SshTarget } from "../model/host.ts";
import type { GroupDraft } from "../protection/groups/draft.ts";
import type { ProtectionGroup } from "../protection/groups/model.ts";
import type { PlacementSettings } from "../placement/rules.ts";

/** A host as a file wants it. */
export interface WantedHost {
  readonly name: string;
  readonly uri: string;
  readonly ssh?: SshTarget | undefined;
}

/** A host that Godwit knows. */
export interface KnownHost extends WantedHost {
  readonly id: string;
}

/** What a host said when it was only asked. */
export interface CheckedHost {
  /** The hypervisor's own UUID of the machine. */
  readonly id: string;
  /** The subnets that it has addresses in, when its shell could tell. */
  readonly subnets?: readonly string[] | undefined;
}

/** What `apply` needs of placement. */
export interface PlacementTarget {
  settings(): Promise<PlacementSettings>;
  /** Throws `invalid`, and changes nothing then. */
  replaceSettings(settings: PlacementSettings): Promise<unknown>;
}

/** What `apply` needs of protection groups. */
export interface GroupsTarget {
  list(): Promise<readonly ProtectionGroup[]>;
  /** The vaults that are registered. */
  vaults(): Promise<readonly { readonly id: string; readonly name: string }[]>;
  create(draft: GroupDraft): Promise<unknown>;
  /** All of a group by its name. */
  replace(draft: GroupDraft): Promise<unknown>;
  remove(name: string): Promise<void>;
}

/** What `apply` needs of the inventory. */
export interface ApplyTarget {
  hosts(): Promise<readonly KnownHost[]>;
  /** Connects and asks, keeps nothing. Rejects with an `EngineError` that says why the host cannot be added. */
  checkHost(host: WantedHost, options: { signal: AbortSignal }): Promise<CheckedHost>;
  /** Rejects with `conflict` for a machine or name that is there already. */
  addHost(host: WantedHost, options: { signal: AbortSignal }): Promise<{ readonly id: string }>;
  /** Forgets a host; nothing on it changes. No error when it is gone. */
  removeHost(id: string, options: { signal: AbortSignal }): Promise<void>;
}
