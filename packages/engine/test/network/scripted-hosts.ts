import type { HostSource, SourceHost } from "../../src/network/observe.ts";
import type { HostShell } from "../../src/ports/shell.ts";

/** Hosts, alpha and bravo at first, with two networks; a shell that answers as the scripts would. */
export class ScriptedHosts implements HostSource {
  /** The host `id-charlie` has addresses that end in 3. */
  readonly hosts: SourceHost[] = [
    { id: "id-alpha", name: "alpha", state: "up" },
    { id: "id-bravo", name: "bravo", state: "up" },
  ];
  broken: Error | undefined;
  silent = new Set<string>();
  opened = 0;
  disposed = 0;
  /** Held back until it resolves. */
  gate: Promise<void> = Promise.resolve();

  list(): readonly SourceHost[] {
    return this.hosts;
  }

  async shell(hostId: string): Promise<HostShell> {
    await this.gate;
    if (this.broken) throw this.broken;
    this.opened += 1;
    const own = ["id-alpha", "id-bravo", "id-charlie"].indexOf(hostId) + 1;
    return {
      run: async (_argv, { stdin }) => ({ code: 0, stdout: stdin === undefined ? this.#facts(own) : this.#probes(own, stdin), stderr: "" }),
      [Symbol.asyncDispose]: async () => void (this.disposed += 1),
    };
  }

  #facts(own: number): string {
    const link = (net: number): string =>
      JSON.stringify({
        ifname: `eth${net}`,
        flags: ["UP", "LOWER_UP"],
        mtu: 1500,
        link_type: "ether",
        address: `02:00:00:00:0${net}:0${own}`,
        addr_info: [{ family: "inet", local: `10.0.${net}.${own}`, prefixlen: 24, scope: "global" }],
      });
    return `@@ links\n[${link(0)},\n${link(1)}]\n@@ routes\n[{"dev":"eth0"}]\n@@ speeds\n@@ rdma\n@@ storage\n@@ tools\nbash\ntimeout\n@@ end\n`;
  }

  #probes(own: number, stdin: string): string {
    const targets = stdin
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    const net = (to: string): string => to.split(".")[2]!;
    const routes = targets.map(([, , to = ""]) => `${to} dev eth${net(to)} src 10.0.${net(to)}.${own}`);
    const answers = targets.map(([n, , to = ""]) => `${n} ${this.silent.has(net(to)) ? "none timeout" : "tcp -"} -`);
    const macs = targets.map(([, , to = ""]) => `${to} dev eth${net(to)} lladdr 02:00:00:00:0${net(to)}:0${to.split(".")[3]} REACHABLE`);
    return ["@@ routes", ...routes, "@@ answers", ...answers, "@@ neighbours", ...(this.silent.size > 0 ? [] : macs), "@@ end", ""].join(
      "\n",
    );
  }
}
