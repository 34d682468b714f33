import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Job, Network, RecoveryPoint, RecoverResult } from "@godwit/api";
import type { LabGuest, LabHost } from "@godwit/lab";
import { nbdExportInfo } from "@godwit/nbd";
import { assertNoTraces, assertWholePoint, capture, capturedOf, startVault } from "./support/captures.ts";
import { ended, eventually, isEnded, runGuest, showJob, type Site, startSite, vmHost } from "./support/site.ts";

const ports = { first: 21_000, last: 21_001 };

describe("a network for backup traffic", () => {
  let site: Site;
  let guest: LabGuest;
  let alpha: LabHost;
  let credentials: string;

  before(async () => {
    site = await startSite({ hosts: 1, uplinks: ["storage"] });
    alpha = site.lab.host("alpha");
    await startVault(site);
    guest = await runGuest(site.lab, "web", alpha, { extraDisks: [{ sizeMiB: 32 }] });
    await eventually("the server sees the guest", async () => (await vmHost(site.godwit, "web").catch(() => "")) === "alpha running");
    credentials = join(site.lab.dir, "backup-tls");
    await mkdir(credentials);
    for (const [from, to] of [
      ["cacert.pem", "ca-cert.pem"],
      ["clientcert.pem", "client-cert.pem"],
      ["clientkey.pem", "client-key.pem"],
    ] as const) {
      await copyFile(join(site.lab.pkiPath, from), join(credentials, to));
    }
  });
  after(async () => site?.[Symbol.asyncDispose]());

  const set = (...flags: readonly string[]): Promise<string> => site.godwit.run(["backup-traffic", "set", ...flags]);

  /** Gives the next capture so much to read that it can be watched. */
  const change = async (): Promise<void> => {
    await guest.exec(["/bin/sh", "-c", "dd if=/dev/urandom of=/dev/vdb bs=1M count=12 2>/dev/null; sync"], { host: alpha });
  };

  /** Ports of the range that somebody listens on. */
  async function listening(): Promise<number[]> {
    const { stdout } = await alpha.exec(["ss", "-Htln"]);
    const found = [...stdout.matchAll(/:(\d+)\s/g)].map((match) => Number(match[1]));
    return found.filter((port) => port >= ports.first && port <= ports.last);
  }

  async function networkId(name: string): Promise<string> {
    return (await site.godwit.json<Network>(["network", "show", name])).id;
  }

  it("is the SSH session until somebody decides, and says why", async () => {
    const result = await capture(site, guest);
    assert.equal(result.route?.kind, "ssh");
    assert.match(
      result.route.reason.text,
      /storage is not used: the server was given no TLS credentials, and unencrypted it is not allowed/,
    );
    const point = await site.godwit.json<RecoveryPoint>(["point", "show", result.pointId]);
    assert.ok(
      point.reasons.some((reason) => reason.includes("through the SSH session")),
      point.reasons.join("\n"),
    );
  });

  it("carries an unencrypted capture where that is allowed, and the interface's bytes prove it", async () => {
    await set("--order", "storage", "--unencrypted", "storage", "--ports", `${ports.first}-${ports.last}`);
    const result = await capture(site, guest);
    assert.equal(result.route?.kind, "tcp");
    assert.equal(result.route.network, "storage");
    assert.equal(result.route.address, alpha.addresses.storage);
    const storage = result.interfaces?.find(({ network }) => network === "storage");
    assert.ok(storage && storage.sentBytes >= result.readBytes, JSON.stringify(result.interfaces));
    await assertWholePoint(site, result);
    await assertNoTraces(guest, alpha);
    assert.deepEqual(await listening(), [], "its port is free again");
  });

  it("is encrypted where both ends can, and shuts out who has no certificate", async () => {
    await set("--tls-credentials", credentials);
    await change();
    const id = (await site.godwit.run(["protect", "web", "--vault", "main", "--no-wait", "--bandwidth", "2M"])).trim();
    const [port = 0] = await eventually("the export listens", async () => {
      const found = await listening();
      return found.length > 0 && found;
    });
    await Promise.all([
      assert.rejects(nbdExportInfo(`nbd://${alpha.addresses.storage}:${port}/vda`), /TLS|refused/i),
      assert.rejects(nbdExportInfo(`nbds://${alpha.addresses.storage}:${port}/vda?tls-verify-peer=0`), /TLS|closed|certificate/i),
    ]);
    assert.ok(!isEnded(await showJob(site.godwit, id)), "it was still there to be asked");
    const result = capturedOf(await ended(site.godwit, id));
    assert.equal(result.route?.kind, "tls", JSON.stringify(result.route));
    await assertNoTraces(guest, alpha);
  });

  it("is what the host's own list says, and is refused when nothing is left and the settings want that", async () => {
    await set("--otherwise", "refuse");
    await site.godwit.run(["backup-network", "add", "--host", "alpha", "--subnet", "192.0.2.0/24"]);
    const refused = await site.godwit.try(["protect", "web", "--vault", "main"]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /not among alpha's backup networks, which govern what it carries/);
    assert.match(refused.stderr, /migration is out: the server has no address on it/);
    await site.godwit.run(["backup-network", "remove", "--host", "alpha", "--subnet", "192.0.2.0/24"]);
    const { routes } = await site.godwit.json<{ routes: { kind: string; networkId?: string }[] }>(["backup-traffic", "explain", "alpha"]);
    assert.equal(routes[0]?.networkId, await networkId("storage"));
    assert.ok(
      routes.every(({ kind }) => kind === "tls"),
      "nothing but encrypted ways",
    );
  });

  it("carries a VM that is off, and what a recovery writes", async () => {
    await site.godwit.run(["vm", "stop", "web"]);
    const result = capturedOf(await site.godwit.json<Job>(["protect", "web", "--vault", "main"]));
    assert.equal(result.route?.kind, "tls");
    for (const [flags, kind] of [
      [[], "tls"],
      [["--tls-credentials", ""], "tcp"],
    ] as const) {
      if (flags.length > 0) await set(...flags);
      const job = await site.godwit.json<Job>(["recover", "disk", result.pointId, "vda", "--to", "alpha", "--storage", "local"]);
      const recovered = job.result as RecoverResult;
      assert.equal(recovered.route?.kind, kind, JSON.stringify(job));
      const written = recovered.disks.reduce((sum, disk) => sum + disk.writtenBytes, 0);
      const storage = recovered.interfaces?.find(({ network }) => network === "storage");
      assert.ok(storage && storage.receivedBytes >= written, JSON.stringify(recovered.interfaces));
    }
    assert.deepEqual(await listening(), []);
    await set("--tls-credentials", credentials);
    await site.godwit.run(["vm", "start", "web"]);
    await guest.waitForAgent({ host: alpha });
  });

  it("goes on over the next network when it is cut in the middle", async () => {
    await change();
    const { acknowledged } = await guest.acknowledgements();
    const id = (await site.godwit.run(["protect", "web", "--vault", "main", "--no-wait", "--bandwidth", "3M"])).trim();
    await eventually("it reads", async () => ((await showJob(site.godwit, id)).progress?.fraction ?? 0) > 0.05);
    await site.lab.faults.cutLink(alpha, "storage");
    try {
      const job = await ended(site.godwit, id, 120_000);
      const result = capturedOf(job);
      assert.deepEqual([result.route?.kind, result.route?.network], ["tls", "management"], JSON.stringify(job.reasons));
      assert.ok(
        job.reasons.some(({ code }) => code === "route-lost"),
        JSON.stringify(job.reasons),
      );
      await assertWholePoint(site, { pointId: result.pointId, acknowledged });
      await assertNoTraces(guest, alpha);
    } finally {
      await site.lab.faults.restoreLink(alpha, "storage");
    }
  });

  it("tries another port when one is taken, and says when none is left", async () => {
    // What listens keeps others out all the same, and what was served there before may not have ended for the kernel.
    const listenToo = "s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1);";
    const hold = (port: number, listen: boolean): string =>
      `import socket,sys; s=socket.socket(); ${listen ? listenToo : ""} s.bind(('0.0.0.0',${port})); ${listen ? "s.listen();" : ""} print('held',flush=True); sys.stdin.read()`;
    const occupy = async (port: number, listen: boolean): Promise<AsyncDisposable> => {
      const child = spawn("env", [...alpha.enter(), "python3", "-c", hold(port, listen)], { stdio: ["pipe", "pipe", "inherit"] });
      const [said] = (await once(child.stdout, "data", { signal: AbortSignal.timeout(60_000) })) as [Buffer];
      assert.match(said.toString(), /held/);
      return {
        [Symbol.asyncDispose]: async () => {
          child.stdin.end();
          await once(child, "exit");
        },
      };
    };
    await set("--ports", "22000-22001", "--otherwise", "ssh");
    // Who is bound and does not listen shows in no list.
    await using _unseen = await occupy(22_000, false);
    const result = await capture(site, guest);
    assert.equal(result.route?.kind, "tls", JSON.stringify(result.route));
    await using _seen = await occupy(22_001, true);
    const other = await capture(site, guest);
    assert.equal(other.route?.kind, "ssh");
    await set("--otherwise", "refuse");
    const refused = await site.godwit.try(["protect", "web", "--vault", "main"]);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /no port from 22000 to 22001 is free/);
    await assertNoTraces(guest, alpha);
  });
});
