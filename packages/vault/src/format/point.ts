import { VaultError } from "../errors.ts";
import { nameLength } from "./names.ts";
import { levelsFor } from "./node.ts";
import { isGrid, limits } from "./objects.ts";

export type ConsistencyLevel = "application" | "filesystem" | "crash";

export interface PointDisk {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly logicalSector: number;
  readonly physicalSector: number;
  readonly levels: number;
  /** Hex of the name of the tree's root. */
  readonly root: string;
}

/** The machine as it was: enough to define it again. */
export interface PointMachine {
  /** The hypervisor's own description, libvirt XML for instance. */
  readonly definition: string;
  /** Firmware variables, TPM state and the like. */
  readonly files: readonly { readonly name: string; readonly data: Uint8Array }[];
}

/** A recovery point; docs/formats/vault.md, section 8. */
export interface Point {
  readonly id: string;
  /** The VM's name. */
  readonly name: string;
  /** RFC 3339. */
  readonly time: string;
  readonly grid: number;
  readonly consistency: { readonly level: ConsistencyLevel; readonly evidence: readonly string[] };
  readonly disks: readonly PointDisk[];
  readonly parent?: string;
  readonly reasons: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
  readonly machine?: PointMachine;
  /** Where it was copied from. */
  readonly origin?: PointOrigin;
  /** Ids under which the same point was sealed with older keys. */
  readonly formerly?: readonly string[];
  /** Marks of gc that its put had seen: it needs nothing of what they condemn. */
  readonly marks?: readonly string[];
}

export interface PointOrigin {
  /** The vault's id. */
  readonly vault: string;
  /** The point's id there. */
  readonly point: string;
}

export function pointToJson(point: Point): unknown {
  const { machine, ...rest } = point;
  if (!machine) return rest;
  const files = machine.files.map(({ name, data }) => ({ name, data: Buffer.from(data).toString("base64") }));
  return { ...rest, machine: { definition: machine.definition, files } };
}

type Fields = Readonly<Record<string, unknown>>;

const asFields = (value: unknown): Fields => (value !== null && typeof value === "object" ? (value as Fields) : {});
const asText = (value: unknown): string => (typeof value === "string" ? value : "");
const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const asTexts = (value: unknown): string[] => asList(value).filter((item) => typeof item === "string");

/** Throws `corrupt` when what a restore needs is not there or makes no sense. */
export function parsePoint(json: unknown, id: string): Point {
  const fields = asFields(json);
  const fail = (why: string): VaultError => new VaultError("corrupt", `recovery point ${id} makes no sense: ${why}`, { point: id });
  const grid = fields["grid"];
  if (fields["id"] !== id) throw fail("it carries another id");
  if (typeof grid !== "number" || !isGrid(grid)) throw fail(`a grid of ${String(grid)}`);
  if (Number.isNaN(Date.parse(asText(fields["time"])))) throw fail("no time");
  const disks = asList(fields["disks"]);
  if (disks.length > limits.disks) throw fail(`${disks.length} disks`);
  const consistency = asFields(fields["consistency"]);
  const level = asText(consistency["level"]);
  const figures = Object.entries(asFields(fields["figures"])).filter((entry): entry is [string, number] => typeof entry[1] === "number");
  return {
    id,
    name: asText(fields["name"]),
    time: asText(fields["time"]),
    grid,
    consistency: { level: level === "application" || level === "filesystem" ? level : "crash", evidence: asTexts(consistency["evidence"]) },
    disks: disks.map((disk) => parseDisk(asFields(disk), grid, fail)),
    ...(typeof fields["parent"] === "string" ? { parent: fields["parent"] } : {}),
    reasons: asTexts(fields["reasons"]),
    figures: Object.fromEntries(figures),
    ...(fields["machine"] === undefined ? {} : { machine: parseMachine(asFields(fields["machine"])) }),
    ...parseHistory(fields),
  };
}

function parseHistory(fields: Fields): Pick<Point, "origin" | "formerly" | "marks"> {
  const { vault, point } = asFields(fields["origin"]);
  const [formerly, marks] = [asTexts(fields["formerly"]), asTexts(fields["marks"])];
  return {
    ...(typeof vault === "string" && typeof point === "string" ? { origin: { vault, point } } : {}),
    ...(formerly.length > 0 ? { formerly } : {}),
    ...(marks.length > 0 ? { marks } : {}),
  };
}

function parseDisk(disk: Fields, grid: number, fail: (why: string) => VaultError): PointDisk {
  const name = asText(disk["name"]);
  const [size, levels, root] = [disk["size"], disk["levels"], disk["root"]];
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) throw fail(`disk ${name} has no size`);
  if (levels !== levelsFor(Math.ceil(size / grid))) throw fail(`disk ${name} has ${String(levels)} levels`);
  if (typeof root !== "string" || !new RegExp(`^[0-9a-f]{${nameLength * 2}}$`).test(root)) throw fail(`disk ${name} has no root`);
  const sector = (value: unknown): number => (typeof value === "number" && Number.isSafeInteger(value) && value >= 512 ? value : 512);
  return {
    name,
    size,
    levels,
    root,
    logicalSector: sector(disk["logicalSector"]),
    physicalSector: sector(disk["physicalSector"]),
  };
}

function parseMachine(machine: Fields): PointMachine {
  const files = asList(machine["files"]).map(asFields);
  return {
    definition: asText(machine["definition"]),
    files: files.map((file) => ({ name: asText(file["name"]), data: Buffer.from(asText(file["data"]), "base64") })),
  };
}
