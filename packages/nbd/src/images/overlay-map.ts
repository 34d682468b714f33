import { crc32 } from "node:zlib";
import { BlockError } from "@godwit/core";
import { FieldReader, FieldWriter, viewOf } from "../protocol/bytes.ts";

/**
 * The layout of an overlay file, all numbers big-endian:
 *
 *   0      header, 4096 bytes: magic, version u32, cluster bits u32, size u64, map offset u64, data offset u64,
 *          length u16 and bytes of the base's identity, zeros, CRC-32 of all before at 4092
 *   4096   map: 2 bits per cluster, lowest bits first: 0 in the base, 1 in this file, 2 zeros
 *   data   cluster i at data offset + i × cluster size; sparse
 */
export const CLUSTER = 64 << 10;
export const HEADER_LENGTH = 4096;
/** The unit in which the map is written. */
export const MAP_PAGE = 4096;
const MAGIC = 0x474f445749544f56n; // "GODWITOV"
const VERSION = 1;
const CLUSTERS_PER_PAGE = MAP_PAGE * 4;
const MAX_ID = 1024;

export type ClusterState = "base" | "local" | "zero";
const STATES: readonly ClusterState[] = ["base", "local", "zero"];

export interface OverlayLayout {
  readonly size: number;
  readonly baseId: string;
  readonly clusters: number;
  readonly mapLength: number;
  readonly dataOffset: number;
}

export function layoutOf(size: number, baseId: string): OverlayLayout {
  const clusters = Math.ceil(size / CLUSTER);
  const mapLength = Math.ceil(clusters / CLUSTERS_PER_PAGE) * MAP_PAGE;
  return { size, baseId, clusters, mapLength, dataOffset: Math.ceil((HEADER_LENGTH + mapLength) / (1 << 20)) * (1 << 20) };
}

export function encodeHeader(layout: OverlayLayout): Buffer {
  const id = Buffer.from(layout.baseId);
  if (id.length > MAX_ID) throw new BlockError("unsupported", `the base's identity is longer than ${MAX_ID} bytes`);
  const header = Buffer.alloc(HEADER_LENGTH);
  const fields = new FieldWriter()
    .magic(MAGIC)
    .u32(VERSION)
    .u32(Math.log2(CLUSTER))
    .u64(layout.size)
    .u64(HEADER_LENGTH)
    .u64(layout.dataOffset);
  fields.u16(id.length).bytes(id).build().copy(header);
  header.writeUInt32BE(crc32(header.subarray(0, HEADER_LENGTH - 4)), HEADER_LENGTH - 4);
  return header;
}

/** Reads a header and checks that it is of an overlay over this very base. */
export function checkHeader(header: Uint8Array, expected: OverlayLayout, path: string): void {
  const corrupt = (why: string): BlockError => new BlockError("corrupt", `${path} is no usable overlay: ${why}`, { path });
  const view = viewOf(header);
  if (view.getBigUint64(0) !== MAGIC) throw corrupt("it does not start as one");
  if (crc32(header.subarray(0, HEADER_LENGTH - 4)) !== view.getUint32(HEADER_LENGTH - 4)) throw corrupt("its header's checksum is wrong");
  const fields = new FieldReader(header.subarray(8), "the overlay's header");
  const [version, clusterBits, size, mapOffset, dataOffset] = [fields.u32(), fields.u32(), fields.u64(), fields.u64(), fields.u64()];
  if (version !== VERSION || 1 << clusterBits !== CLUSTER) throw corrupt(`its version ${version} is not known`);
  if (size !== expected.size) throw corrupt(`it was made over a base of ${size} bytes, this one has ${expected.size}`);
  if (mapOffset !== HEADER_LENGTH || dataOffset !== expected.dataOffset) throw corrupt("its layout is impossible");
  const baseId = Buffer.from(fields.bytes(fields.u16())).toString("utf8");
  if (baseId !== expected.baseId)
    throw corrupt(`it was made over the base ${JSON.stringify(baseId)}, not ${JSON.stringify(expected.baseId)}`);
}

/** Where each cluster's content is; knows which of its pages were changed since they were last taken. */
export class OverlayMap {
  readonly #bits: Uint8Array;
  #dirty = new Set<number>();

  constructor(bits: Uint8Array) {
    this.#bits = bits;
  }

  get(cluster: number): ClusterState {
    return STATES[(this.#bits[cluster >>> 2]! >>> ((cluster & 3) * 2)) & 3] ?? "base";
  }

  set(cluster: number, state: ClusterState): void {
    if (this.get(cluster) === state) return;
    const shift = (cluster & 3) * 2;
    this.#bits[cluster >>> 2] = (this.#bits[cluster >>> 2]! & ~(3 << shift)) | (STATES.indexOf(state) << shift);
    this.#dirty.add(Math.floor(cluster / CLUSTERS_PER_PAGE));
  }

  /** The changed pages as they are now; from here on they count as clean. */
  takeDirty(): { readonly page: number; readonly bytes: Uint8Array }[] {
    const pages = [...this.#dirty].toSorted((a, b) => a - b);
    this.#dirty = new Set();
    return pages.map((page) => ({ page, bytes: this.#bits.slice(page * MAP_PAGE, (page + 1) * MAP_PAGE) }));
  }

  /** Pages that could not be written after all. */
  putBack(pages: readonly { readonly page: number }[]): void {
    for (const { page } of pages) this.#dirty.add(page);
  }
}
