import type { Extent } from "@godwit/core";
import type { StatusExtent } from "../client/status.ts";
import { usage } from "../error.ts";
import { ALLOCATION, CONTEXT_ALLOCATION, LIMIT, TRANSMISSION_FLAG } from "../protocol/constants.ts";
import { canTrim, isRanged, type NbdContext, type NbdExport } from "./export.ts";
import { ExtentIndex } from "./extent-index.ts";

/** An export as the server's sessions see it: checked, with everything optional filled in. */
export class ServedExport {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly export: NbdExport;
  readonly blockSize: { readonly minimum: number; readonly preferred: number; readonly maximum: number };
  /** `base:allocation` and what the export adds; the index is the context's id. */
  readonly contexts: readonly NbdContext[];

  constructor(given: NbdExport, signal: AbortSignal) {
    this.name = given.name;
    this.description = given.description ?? "";
    this.export = given;
    this.size = given.source.size;
    this.blockSize = { minimum: 1, preferred: 4096, ...given.blockSize, maximum: LIMIT.payload };
    const { minimum, preferred } = this.blockSize;
    const powers = [minimum, preferred].every((size) => Number.isInteger(Math.log2(size)));
    if (!powers || minimum > 1 << 16 || preferred < Math.max(minimum, 512) || this.size % minimum !== 0) {
      throw usage("unsupported", "the export's block sizes are not possible", { export: given.name, size: this.size, minimum, preferred });
    }
    if (given.sink && given.sink.size !== this.size) {
      throw usage("unsupported", "the export's source and sink differ in size", {
        export: given.name,
        source: this.size,
        sink: given.sink.size,
      });
    }
    this.contexts = [allocationContext(given, signal), ...(given.contexts ?? [])];
  }

  /** Transmission flags; `structured` says whether replies may come in chunks. */
  flags(structured: boolean): number {
    const { sink } = this.export;
    const flag = TRANSMISSION_FLAG;
    // All sessions share one source and one sink, so that several connections see the same data.
    const base = flag.hasFlags | flag.multiConn | (structured ? flag.dontFragment : 0);
    if (!sink) return base | flag.readOnly;
    return base | flag.flush | flag.fua | flag.writeZeroes | (canTrim(sink) ? flag.trim : 0);
  }
}

function allocationContext({ source, sink }: NbdExport, signal: AbortSignal): NbdContext {
  let index: ExtentIndex | undefined;
  const extentsIn = (offset: number, length: number, options: { signal: AbortSignal }): AsyncIterable<Extent> => {
    if (isRanged(source)) return source.extentsIn(offset, length, options);
    // What may change behind our back cannot be kept; "data" is always a true answer.
    if (sink) return oneExtent(offset, length);
    index ??= new ExtentIndex(source, { signal });
    return index.extentsIn(offset, length, options);
  };
  return {
    name: CONTEXT_ALLOCATION,
    async *statuses(offset, length, options): AsyncGenerator<StatusExtent, void, undefined> {
      for await (const extent of extentsIn(offset, length, options)) {
        yield { offset: extent.offset, length: extent.length, status: extent.kind === "zero" ? ALLOCATION.hole | ALLOCATION.zero : 0 };
      }
    },
  };
}

async function* oneExtent(offset: number, length: number): AsyncGenerator<Extent, void, undefined> {
  yield { offset, length, kind: "data" };
}
