import type { BlockSource, Extent } from "@godwit/core";
import { FileImage, type PutDisk } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { readChangeList } from "./changes.ts";
import { isNbdUri, splitAssignment } from "./words.ts";

const bitmapPrefix = "nbd:";

interface Wish {
  readonly name: string;
  readonly image: string;
  readonly map: string | undefined;
}

/** Which image is which disk: `DISK=IMAGE`, or `disk0`, `disk1`… in their order. */
export function wishesOf(images: readonly string[], maps: readonly string[]): Wish[] {
  const named = images.map((text, index) => {
    const { name, value } = splitAssignment(text);
    return { name: name ?? `disk${index}`, image: value };
  });
  const lists = new Map<string, string>();
  for (const [index, text] of maps.entries()) {
    const { name = maps.length === images.length ? named[index]?.name : undefined, value } = splitAssignment(text);
    if (name === undefined || !named.some((one) => one.name === name)) {
      throw new CliError(
        exitCode.usage,
        `--changed ${text}: say of which disk, DISK=MAP; the disks are ${named.map((one) => one.name).join(", ")}`,
      );
    }
    lists.set(name, value);
  }
  return named.map((one) => ({ ...one, map: lists.get(one.name) }));
}

/** Opens every image and list of changes; the stack closes them. */
export async function openDisks(wishes: readonly Wish[], stack: AsyncDisposableStack, signal: AbortSignal): Promise<PutDisk[]> {
  const disks: PutDisk[] = [];
  for (const { name, image, map } of wishes) {
    if (map?.startsWith(bitmapPrefix)) {
      disks.push({ name, ...(await openWithBitmap(image, map.slice(bitmapPrefix.length), stack, signal)) });
      continue;
    }
    const source = stack.use(await openImage(image, signal));
    if (map === undefined && source instanceof FileImage) source.lookAhead();
    disks.push({ name, source, ...(map === undefined ? {} : { changed: await readChangeList(map) }) });
  }
  return disks;
}

/** A raw image, a block device, or an NBD export. */
export async function openImage(image: string, signal: AbortSignal): Promise<BlockSource> {
  if (!isNbdUri(image)) return await FileImage.open(image);
  const { openNbdSource } = await import("@godwit/nbd");
  return await openNbdSource(image, { signal });
}

async function openWithBitmap(
  image: string,
  bitmap: string,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Pick<PutDisk, "source" | "changed">> {
  if (!isNbdUri(image)) throw new CliError(exitCode.usage, `--changed nbd:${bitmap} needs an image over NBD, not ${image}`);
  const { openNbdSource } = await import("@godwit/nbd");
  const source = stack.use(await openNbdSource(image, { signal, dirtyBitmaps: [bitmap] }));
  const dirty = async function* (): AsyncGenerator<Extent> {
    for await (const { offset, length, kind } of source.changes(bitmap, { signal })) {
      if (kind !== "clean") yield { offset, length, kind };
    }
  };
  return { source, changed: dirty() };
}
