import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from "@aws-sdk/client-s3";
import { Daemons, freePort } from "./daemons.ts";

const execute = promisify(execFile);

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  /** Of the owner of all buckets. */
  readonly credentials: Credentials;
  makeBucket(name: string, options?: { readonly objectLock?: boolean }): Promise<void>;
  /** Makes a user who may do in a bucket what `actions` say, and nothing else. */
  makeUser(name: string, bucket: string, actions: readonly string[]): Promise<Credentials>;
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
    const makeUser = async (name: string): Promise<Credentials> => {
      const credentials = { accessKeyId: name, secretAccessKey: `${name}godwit` };
      const keys = [`--access-key=${credentials.accessKeyId}`, `--secret=${credentials.secretAccessKey}`];
      await run("radosgw-admin", "user", "create", `--uid=${name}`, `--display-name=${name}`, ...keys);
      return credentials;
    };
    return serverAt(`http://127.0.0.1:${gateway}`, await makeUser("godwit"), { makeUser, daemons });
  } catch (error) {
    await daemons[Symbol.asyncDispose]();
    throw error;
  }
}

function serverAt(
  endpoint: string,
  credentials: Credentials,
  { makeUser, daemons }: { readonly makeUser: (name: string) => Promise<Credentials>; readonly daemons: Daemons },
): S3Server {
  const client = new S3Client({ endpoint, credentials, region: "us-east-1", forcePathStyle: true });
  return {
    endpoint,
    credentials,
    makeBucket: async (name, { objectLock = false } = {}) => {
      await client.send(new CreateBucketCommand({ Bucket: name, ...(objectLock ? { ObjectLockEnabledForBucket: true } : {}) }));
    },
    makeUser: async (name, bucket, actions) => {
      const made = await makeUser(name);
      const resources = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`];
      const allow = (who: string, what: readonly string[]): object => ({
        Effect: "Allow",
        Principal: { AWS: [`arn:aws:iam:::user/${who}`] },
        Action: what,
        Resource: resources,
      });
      // The bucket's owner, too: objects belong to who wrote them.
      const statements = [allow(name, actions), allow(credentials.accessKeyId, ["s3:*"])];
      const policy = JSON.stringify({ Version: "2012-10-17", Statement: statements });
      await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: policy }));
      return made;
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await daemons[Symbol.asyncDispose]();
    },
  };
}
