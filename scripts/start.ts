/**
 * The main jobs, on real hosts, from nothing: a lab of three libvirt hosts, a server, and a guest that writes
 * all the time, is moved around all of them over the network that was ordered first, is captured on the way,
 * and is recovered when its host is lost.
 *
 *   npm start                 stays up afterwards, to be tried by hand; Ctrl-C ends and cleans up
 *   npm start -- --once       ends and cleans up
 */
import { describeError } from "@godwit/core";
import { type AckWatch, type Lab, type LabGuest, startLab } from "@godwit/lab";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Godwit, startServer } from "./godwit-process.ts";
import { recoveredName, secondDisk, showProtection } from "./start/protection.ts";
import { heading, say } from "./start/stage.ts";

const networkNames = ["management", "migration", "storage", "spare"] as const;

async function addHosts(lab: Lab, godwit: Godwit): Promise<void> {
  heading("Three libvirt hosts, reached by SSH like anybody's");
  for (const host of lab.hosts) await godwit.run(["host", "add", host.name, lab.uri(host)], { quiet: true });
  await godwit.run(["host", "list"]);
}

/** The networks have found themselves; they get the names that the lab's bridges have. */
async function nameNetworks(lab: Lab, godwit: Godwit): Promise<void> {
  heading("The networks that they share, in the order that live migration shall use");
  await godwit.run(["network", "probe"], { quiet: true });
  const found = await godwit.json<readonly { readonly name: string; readonly subnets: readonly string[] }[]>(["network", "list"]);
  for (const name of networkNames) {
    const subnet = lab.network(name).ipv4;
    const network = found.find((one) => one.subnets.includes(subnet));
    if (network && network.name !== name) await godwit.run(["network", "rename", network.name, name], { quiet: true });
  }
  await godwit.run(["live-migration", "set", "--order", "migration,storage", "--exclude", "spare"]);
  await godwit.run(["network", "list"]);
}

async function goAround(lab: Lab, guest: LabGuest, godwit: Godwit): Promise<void> {
  const route = [...lab.hosts.slice(1), lab.hosts[0]];
  heading(`${guest.name} writes and fsyncs records all the time, and goes around all hosts`);
  await godwit.run(["migration", "explain", guest.name, "--to", route[0]?.name ?? ""]);
  for (const host of route) if (host) await godwit.run(["vm", "migrate", guest.name, "--to", host.name]);
  heading("The same, with the storage network first");
  await godwit.run(["live-migration", "set", "--order", "storage,migration"]);
  await godwit.run(["vm", "migrate", guest.name, "--to", route[0]?.name ?? ""]);
}

async function checkRecords(guest: LabGuest, watch: AckWatch): Promise<boolean> {
  heading("The guest's records, read back from its disk");
  const report = await guest.verifyLive();
  const { acknowledged, longestGapMs } = watch.pauses();
  say(`${report.ok ? "whole" : "DAMAGED"}: ${report.summary}`);
  say(`${acknowledged} records were acknowledged meanwhile; the longest silence between two was ${Math.round(longestGapMs)} ms`);
  return report.ok;
}

function invite(lab: Lab, godwit: Godwit): void {
  heading("It is all still up. Try it by hand in another terminal:");
  say(`  export GODWIT_SERVER=${godwit.socket}`);
  say(`  ./godwit vm list`);
  say(`  ./godwit vm migrate ${recoveredName} --to ${lab.hosts.find((host) => host.isUp)?.name ?? ""} --storage local`);
  say(`  ./godwit protect ${recoveredName} --vault main`);
  say(`  npm run lab -- status            the hosts, and how to log in to them`);
  say(`  npm run lab -- fault --help      cut links, kill daemons, fill disks`);
  say(`\nCtrl-C ends the server, the guests and the hosts, and leaves nothing behind.`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { once: { type: "boolean", default: false } }, allowPositionals: false });
  if (process.getuid?.() !== 0) {
    say(
      "npm start makes network namespaces and starts libvirtd in them: run it as root, or see docs/getting-started.md for your own hosts",
    );
    return 1;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop.abort(new Error("stopped")));
  await using stack = new AsyncDisposableStack();
  say("Starting three real libvirtd hosts in namespaces of their own, and a guest …");
  const began = performance.now();
  const lab = stack.use(await startLab({ hosts: 3, signal: stop.signal }));
  const guest = await lab.createGuest({
    name: "demo",
    host: lab.host("alpha"),
    dirtyMemory: { MiBPerSecond: 10 },
    extraDisks: [secondDisk],
    signal: stop.signal,
  });
  await guest.start(lab.host("alpha"), { signal: stop.signal });
  await guest.waitForAgent({ signal: stop.signal });
  say(`up in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const server = stack.use(await startServer({ stateDir: join(lab.dir, "godwit"), signal: stop.signal }));
  const godwit = new Godwit({ socket: server.socket, say, signal: stop.signal });
  await addHosts(lab, godwit);
  await nameNetworks(lab, godwit);
  await using watch = await guest.watch();
  await goAround(lab, guest, godwit);
  const whole = await checkRecords(guest, watch);
  const recovered = await showProtection({ lab, guest, godwit, signal: stop.signal });
  if (values.once) return whole && recovered ? 0 : 1;
  invite(lab, godwit);
  await new Promise<void>((resolve) => {
    stop.signal.addEventListener("abort", () => resolve(), { once: true });
    void server.exited.then(() => resolve());
  });
  say("\nending …");
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`godwit: ${describeError(error)}\n`);
  process.exitCode = 1;
}
