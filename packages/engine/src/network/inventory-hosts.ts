import type { HostView } from "../model/host.ts";
import type { HostShell } from "../ports/shell.ts";
import type { HostSource, SourceHost } from "./observe.ts";

/** What networks need of an inventory. Its shells stay its own. */
export interface HostInventory {
  hosts(): readonly HostView[];
  /** Throws when the host was registered without a way to a shell. */
  shell(hostId: string): HostShell;
}

/** The hosts of an inventory, for {@link Networks}. */
export function inventoryHosts(inventory: HostInventory): HostSource {
  return {
    list: () => inventory.hosts().map(toSourceHost),
    shell: async (hostId) => borrowed(inventory.shell(hostId)),
  };
}

function toSourceHost({ id, name, state, reason, uri }: HostView): SourceHost {
  return { id, name, state, reason: reason.text, sshPort: sshPort(uri) };
}

/** The inventory closes it, not who borrows it. */
function borrowed(shell: HostShell): HostShell {
  return { run: (argv, options) => shell.run(argv, options), [Symbol.asyncDispose]: async () => undefined };
}

/** Of a URI such as `qemu+ssh://root@alpha:2222/system`; undefined for the usual port. */
function sshPort(uri: string): number | undefined {
  const { protocol, port } = URL.canParse(uri) ? new URL(uri) : { protocol: "", port: "" };
  return /\+(ssh|libssh2?):$/.test(protocol) && port !== "" ? Number(port) : undefined;
}
