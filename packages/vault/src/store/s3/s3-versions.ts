import { DeleteObjectCommand, HeadObjectCommand, ListObjectVersionsCommand, type S3Client } from "@aws-sdk/client-s3";
import { StoreError } from "../blob-store.ts";
import { s3Error } from "./s3-errors.ts";

interface Version {
  readonly id: string;
  readonly marker: boolean;
}

/** An object and all that a bucket with versions keeps of it. */
export interface VersionedKey {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
  readonly signal: AbortSignal;
}

/** Versions of one object, newest first as S3 lists them, and its delete markers. */
export async function* versionsOf({ client, bucket, key, signal }: VersionedKey): AsyncGenerator<Version> {
  let at: { readonly KeyMarker?: string | undefined; readonly VersionIdMarker?: string | undefined } = {};
  for (;;) {
    const page = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: key, ...at }), { abortSignal: signal });
    for (const { Key, VersionId } of page.Versions ?? []) if (Key === key) yield { id: VersionId ?? "null", marker: false };
    for (const { Key, VersionId } of page.DeleteMarkers ?? []) if (Key === key) yield { id: VersionId ?? "null", marker: true };
    // The key itself comes first among those that start with it.
    if (page.IsTruncated !== true || page.NextKeyMarker !== key) return;
    if (page.NextVersionIdMarker === at.VersionIdMarker) throw new StoreError("failed", `the server lists the versions of ${key} for ever`);
    at = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
  }
}

/** The version that came first, delete markers aside. */
export async function oldestVersion(key: VersionedKey): Promise<string | undefined> {
  let oldest: string | undefined;
  for await (const { id, marker } of versionsOf(key)) if (!marker) oldest = id;
  return oldest;
}

/** Until when the storage forbids deleting a version, ms since the epoch; 0 when it does not. */
export async function lockOf({ client, bucket, key, signal }: VersionedKey, version?: string): Promise<number> {
  const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key, VersionId: version }), { abortSignal: signal });
  return head.ObjectLockRetainUntilDate?.getTime() ?? 0;
}

/**
 * Deletes every version, the newest first and the markers last, so that nothing is left to pay for and a
 * refusal leaves the object as it was. Throws `retained`.
 */
export async function deleteVersions(key: VersionedKey): Promise<void> {
  const all = await Array.fromAsync(versionsOf(key));
  const ordered = [...all.filter(({ marker }) => !marker), ...all.filter(({ marker }) => marker)];
  for (const { id, marker } of ordered) {
    try {
      await deleteVersion(key, id);
    } catch (error) {
      const failure = s3Error(error, `delete ${key.key}`);
      if (failure.kind !== "denied" || marker) throw failure;
      const until = await lockOf(key, id).catch(() => 0);
      const said = error instanceof Error && /object lock/i.test(error.message);
      if (until === 0 && !said) throw failure;
      const how = until === 0 ? "locked" : `locked until ${new Date(until).toISOString()}`;
      throw new StoreError("retained", `${key.key} is ${how}`, { until }, { cause: error });
    }
  }
}

export async function deleteVersion({ client, bucket, key, signal }: VersionedKey, id: string): Promise<void> {
  await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: id }), { abortSignal: signal });
}
