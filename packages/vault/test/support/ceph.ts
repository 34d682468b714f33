import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { Daemons, freePort } from "./daemons.ts";

const execute = promisify(execFile);

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  makeBucket(name: string, options?: { readonly objectLock?: boolean }): Promise<void>;
}

/** A mon and an OSD that keep everything in memory, for one gateway; nothing leaves the loopback. */
function config(daemons: Daemons, monitor: number, fsid: string): string {
  const lines = {
    fsid,
    "mon host": `v2:127.0.0.1:${monitor}`,
    "public addr": "127.0.0.1",
    "auth cluster required": "none",
    "auth service required": "none",
    "auth client required": "none",
    // The gateway's own default, "secure", needs keys.
    "ms mon client mode": "crc",
    "run dir": daemons.path("run"),
    "admin socket": daemons.path("run", "$name.asok"),
    "pid file": daemons.path("run", "$name.pid"),
    "log file": daemons.path("run", "$name.log"),
    "crash dir": daemons.path("run"),
    "mon data": daemons.path("mon"),
    "osd data": daemons.path("osd"),
    "rgw data": daemons.path("rgw"),
    "osd pool default size": 1,
    "osd pool default min size": 1,
    "osd pool default pg num": 2,
    "osd pool default pgp num": 2,
    "osd pool default pg autoscale mode": "off",
    "mon allow pool size one": true,
    "mon max pg per osd": 2000,
    "osd crush chooseleaf type": 0,
    "osd objectstore": "memstore",
    "memstore device bytes": 2 ** 31,
    // Making the gateway's pools takes a minute otherwise.
    "paxos propose interval": 0.05,
    "paxos min wait": 0.01,
    "rgw run sync thread": false,
    "rgw thread pool size": 64,
  };
  return `[global]\n${Object.entries(lines)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join("")}`;
}

/** Ceph's S3 gateway, with a cluster of its own in memory. Needs Debian's ceph-mon, ceph-osd and radosgw. */
export async function startCephS3(): Promise<S3Server> {
  const daemons = await Daemons.open();
  try {
    const [monitor, gateway, fsid] = [await freePort(), await freePort(), randomUUID()];
    for (const name of ["run", "mon", "osd"]) await mkdir(daemons.path(name));
    await writeFile(daemons.path("ceph.conf"), config(daemons, monitor, fsid));
    const common = ["-c", daemons.path("ceph.conf")];
    const run = async (command: string, ...args: readonly string[]): Promise<void> => {
      await execute(command, [...common, ...args], { timeout: 60_000, cwd: daemons.folder });
    };
    await run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", `[v2:127.0.0.1:${monitor}]`, daemons.path("monmap"));
    await run("ceph-mon", "--mkfs", "-i", "a", "--monmap", daemons.path("monmap"));
    await daemons.serve(monitor, "ceph-mon", [...common, "-i", "a", "-f"]);
    const osd = randomUUID();
    await run("ceph", "osd", "new", osd);
    await run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd);
    // The OSD needs no port of ours; the monitor's is listening already.
    await daemons.serve(monitor, "ceph-osd", [...common, "-i", "0", "-f"]);
    await daemons.serve(gateway, "radosgw", [...common, "-n", "client.rgw", "-f", `--rgw-frontends=beast endpoint=127.0.0.1:${gateway}`]);
    const credentials = { accessKeyId: "godwit", secretAccessKey: "godwitgodwit" };
    const { accessKeyId, secretAccessKey } = credentials;
    const user = ["--uid=godwit", "--display-name=godwit", `--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`];
    await run("radosgw-admin", "user", "create", ...user);
    return serverAt(`http://127.0.0.1:${gateway}`, credentials, daemons);
  } catch (error) {
    await daemons[Symbol.asyncDispose]();
    throw error;
  }
}

function serverAt(endpoint: string, credentials: S3Server["credentials"], daemons: Daemons): S3Server {
  const client = new S3Client({ endpoint, credentials, region: "us-east-1", forcePathStyle: true });
  return {
    endpoint,
    credentials,
    makeBucket: async (name, { objectLock = false } = {}) => {
      await client.send(new CreateBucketCommand({ Bucket: name, ...(objectLock ? { ObjectLockEnabledForBucket: true } : {}) }));
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await daemons[Symbol.asyncDispose]();
    },
  };
}
