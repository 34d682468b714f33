import { parseDocument } from "./document.ts";

/** Sizes in bytes. */
export interface PoolXml {
  readonly type: string;
  readonly name: string;
  readonly uuid: string;
  readonly path?: string | undefined;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
  readonly availableBytes: number;
}

/** Reads a storage pool's `<pool>`. Throws `XmlError`; never anything else. */
export function parsePool(text: string): PoolXml {
  const pool = parseDocument(text, "pool");
  const bytes = (name: string): number => pool.child(name)?.room ?? 0;
  return {
    type: pool.attribute("type") ?? "unknown",
    name: pool.needText("name"),
    uuid: pool.needText("uuid").toLowerCase(),
    path: pool.textOf("target", "path"),
    capacityBytes: bytes("capacity"),
    allocatedBytes: bytes("allocation"),
    availableBytes: bytes("available"),
  };
}

/** Sizes in bytes. */
export interface VolumeXml {
  readonly type: string;
  readonly name: string;
  readonly key?: string | undefined;
  readonly path?: string | undefined;
  readonly format?: string | undefined;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
  readonly backingPath?: string | undefined;
  readonly backingFormat?: string | undefined;
  /** When its file was last written: seconds since the Unix epoch, with decimals. */
  readonly modified?: string | undefined;
}

/** Reads a storage volume's `<volume>`. Throws `XmlError`; never anything else. */
export function parseVolume(text: string): VolumeXml {
  const volume = parseDocument(text, "volume");
  return {
    type: volume.attribute("type") ?? "file",
    name: volume.needText("name"),
    key: volume.textOf("key"),
    path: volume.textOf("target", "path"),
    format: volume.child("target", "format")?.attribute("type"),
    capacityBytes: volume.child("capacity")?.bytes("bytes") ?? 0,
    allocatedBytes: volume.child("allocation")?.bytes("bytes") ?? 0,
    backingPath: volume.textOf("backingStore", "path"),
    backingFormat: volume.child("backingStore", "format")?.attribute("type"),
    modified: volume.textOf("target", "timestamps", "mtime"),
  };
}
