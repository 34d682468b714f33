import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type NetworkName, networkNames, portName } from "./addresses.ts";
import { exists } from "./debian.ts";
import { LabError } from "./error.ts";
import type { LabHost } from "./host.ts";
import { pools } from "./host-files.ts";
import type { LabNamespace } from "./lab-namespace.ts";
import type { LabPaths } from "./paths.ts";
import { until } from "./process.ts";

export interface FaultOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * What can go wrong with hosts and networks, on demand. Every method resolves when the fault, or its
 * end, is in effect, and may be repeated. A host that boots again has none of its faults left.
 */
export class LabFaults {
  readonly #namespace: LabNamespace;
  readonly #paths: LabPaths;

  constructor(lab: { readonly namespace: LabNamespace; readonly paths: LabPaths }) {
    this.#namespace = lab.namespace;
    this.#paths = lab.paths;
  }

  /**
   * Drops everything between a host and a network, both ways. By default silently, as a broken switch
   * does: nobody sees a link go down or a connection reset. `unplug` takes the host's carrier away, too.
   */
  async cutLink(host: LabHost, network: NetworkName, options: FaultOptions & { readonly unplug?: boolean } = {}): Promise<void> {
    const port = portName(host.name, network);
    await this.#namespace.run(["bridge", "-n", "switch", "link", "set", "dev", port, "state", "0"], options);
    if (options.unplug === true) await this.#namespace.run(["ip", "-n", "switch", "link", "set", port, "down"], options);
  }

  /** Undoes cutLink and slowLink. */
  async restoreLink(host: LabHost, network: NetworkName, options: FaultOptions = {}): Promise<void> {
    const port = portName(host.name, network);
    await this.#namespace.run(["ip", "-n", "switch", "link", "set", port, "up"], options);
    await this.#namespace.run(["bridge", "-n", "switch", "link", "set", "dev", port, "state", "3"], options);
    for (const end of bothEnds(host, network)) {
      const argv = ["tc", "-n", end.namespace, "qdisc", "delete", "dev", end.device, "root"];
      await this.#namespace.run(argv, { ...options, check: false }); // there may be none
    }
  }

  /** Limits a host's traffic on a network, each way on its own. Megabits are 10^6 bits a second. */
  async slowLink(host: LabHost, network: NetworkName, options: FaultOptions & { readonly mbit: number }): Promise<void> {
    if (!(options.mbit > 0)) throw new LabError("invalid", `a link of ${options.mbit} Mbit/s: must be more than 0`);
    // A tick's worth of bytes at least (HZ may be 100), or the rate is not reached.
    const burst = Math.max(32_768, Math.ceil((options.mbit * 1_000_000) / 8 / 100));
    const shape = ["root", "tbf", "rate", `${Math.round(options.mbit * 1000)}kbit`, "burst", String(burst), "latency", "100ms"];
    for (const end of bothEnds(host, network)) {
      await this.#namespace.run(["tc", "-n", end.namespace, "qdisc", "replace", "dev", end.device, ...shape], options);
    }
  }

  /** SIGKILL for libvirtd; its guests run on. */
  async killLibvirtd(host: LabHost, options: FaultOptions = {}): Promise<void> {
    await this.#killByPidFile(host, "libvirtd.pid", options);
  }

  async startLibvirtd(host: LabHost, options: FaultOptions = {}): Promise<void> {
    if ((await host.pids()).libvirtd === undefined) await startService(host, "libvirtd", options);
    await host.virsh(["uri"], options);
  }

  /** SIGKILL for a guest's QEMU on this host. Rejects with `not-found` when it has none there. */
  async killQemu(host: LabHost, guest: string, options: FaultOptions = {}): Promise<void> {
    await this.#killByPidFile(host, `libvirt/qemu/${guest}.pid`, options);
  }

  /** No process of the host goes on; its kernel still acknowledges what it receives, as a hung host's does. */
  async freezeHost(host: LabHost, options: FaultOptions = {}): Promise<void> {
    // All but the init of the pid namespace and the shell itself.
    await host.exec(["bash", "-c", "kill -STOP -1"], options);
  }

  async thawHost(host: LabHost, options: FaultOptions = {}): Promise<void> {
    await host.exec(["bash", "-c", "kill -CONT -1"], options);
  }

  /** Leaves no free byte in the host's `local` pool, by making the pool as small as what is in it. */
  async fillDisk(host: LabHost, options: FaultOptions = {}): Promise<void> {
    // A page at least: a size of 0 would mean no limit.
    const measure = `head -c 4096 /dev/zero >${filler}; df --output=used -B1 ${pools.local} | tail -n 1`;
    for (let tries = 1; ; tries += 1) {
      const { stdout } = await host.exec(["bash", "-euc", measure], { ...options, check: false });
      try {
        await this.#resizeLocal(host, stdout.trim(), options);
        return;
      } catch (error) {
        // Somebody wrote meanwhile, and no disk is made smaller than what is on it.
        if (tries === fillTries || !(error instanceof LabError && error.kind === "failed")) throw error;
      }
    }
  }

  async freeDisk(host: LabHost, options: FaultOptions = {}): Promise<void> {
    await this.#resizeLocal(host, `${host.localStorageMiB}m`, options);
    await host.exec(["rm", "-f", filler], options);
  }

  async #resizeLocal(host: LabHost, size: string, options: FaultOptions): Promise<void> {
    const mounted = join(this.#paths.dir, "private", host.name, "local");
    await this.#namespace.run(["mount", "-o", `remount,size=${size}`, mounted], options);
  }

  /** Ends sshd, and every ssh session of the host with it. */
  async stopSshd(host: LabHost, options: FaultOptions = {}): Promise<void> {
    const stop = `for comm in /proc/[0-9]*/comm; do
      if read -r name 2>/dev/null <"$comm" && [[ $name == sshd* ]]; then pid=\${comm#/proc/}; kill -KILL "\${pid%/comm}"; fi
    done; rm -f /run/sshd.pid`;
    await host.exec(["bash", "-c", stop], options);
    await until(`sshd of ${host.name} to end`, async () => ((await host.pids()).sshd === undefined ? true : undefined), options);
  }

  async startSshd(host: LabHost, options: FaultOptions = {}): Promise<void> {
    if ((await host.pids()).sshd === undefined) await startService(host, "sshd", options);
    await until(`sshd of ${host.name} to start`, async () => (await host.pids()).sshd, options);
  }

  /**
   * A power cut: its networks hear no more of the host, and all its processes and what was in its memory
   * are gone. Its disks stay; {@link LabHost.boot} brings it back.
   */
  async crashHost(host: LabHost, options: FaultOptions = {}): Promise<void> {
    const { initPid } = host;
    if (initPid === undefined) return;
    // First the cables: a dying process would say goodbye to its peers.
    for (const network of networkNames) await this.cutLink(host, network, options);
    process.kill(initPid, "SIGKILL");
    await until(`host ${host.name} to end`, async () => ((await exists(`/proc/${initPid}/ns/net`)) ? undefined : true), options);
  }

  async #killByPidFile(host: LabHost, file: string, options: FaultOptions): Promise<void> {
    const pid = Number(await readFile(join(this.#paths.host(host.name), "run", file), "utf8").catch(() => ""));
    // Not 0, which would be the process group of whoever asks: that is ours, whatever the namespace.
    const killed = pid > 1 && (await host.exec(["bash", "-c", `kill -KILL ${pid}`], { ...options, check: false })).code === 0;
    if (!killed) {
      throw new LabError("not-found", `host ${host.name} has no process of /run/${file} to kill`, { host: host.name });
    }
    const gone = async (): Promise<true | undefined> => {
      const there = await host.exec(["test", "-e", `/proc/${pid}/exe`], { ...options, check: false });
      return there.code === 0 ? undefined : true;
    };
    await until(`process ${pid} of ${host.name} to end`, gone, options);
  }
}

/** The switch's end of a link and the host's. */
function bothEnds(host: LabHost, network: NetworkName): { readonly namespace: string; readonly device: string }[] {
  return [
    { namespace: "switch", device: portName(host.name, network) },
    { namespace: host.name, device: host.interfaces[network] },
  ];
}

const fillTries = 50;

/** Keeps the pool from being empty, and so without a size, when it is filled. */
const filler = `${pools.local}/.godwit-filler`;

async function startService(host: LabHost, service: "sshd" | "libvirtd", options: FaultOptions): Promise<void> {
  await host.exec(["bash", "-euc", `source /etc/godwit-lab/services; start_${service} </dev/null >/dev/null 2>&1`], options);
}
