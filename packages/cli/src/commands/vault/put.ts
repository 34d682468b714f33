import { readFile } from "node:fs/promises";
import { type Compression, type ConsistencyLevel, type Point, pointToJson, prepareThreads, type Vault, VaultError } from "@godwit/vault";
import { CliError, exitCode } from "../../exit.ts";
import { openVault } from "./access.ts";
import { type AccessFlags, show, type VaultContext } from "./context.ts";
import { Meter } from "./meter.ts";
import { openDisks, wishesOf } from "./sources.ts";
import { putTable } from "./tables.ts";

export interface PutFlags extends AccessFlags {
  readonly name: string;
  readonly base?: string;
  readonly changed: readonly string[];
  readonly consistency: ConsistencyLevel;
  readonly evidence: readonly string[];
  readonly definition?: string;
  readonly compression: Compression;
}

/** `godwit vault put`. */
export async function putImages(images: readonly string[], flags: PutFlags, context: VaultContext): Promise<void> {
  const { signal } = context;
  const wishes = wishesOf(images, flags.changed);
  if (flags.changed.length > 0 && flags.base === undefined) {
    throw new CliError(exitCode.usage, "--changed needs --base: the recovery point that the list of changes starts from");
  }
  const definition = flags.definition === undefined ? undefined : await readDefinition(flags.definition);
  await using stack = new AsyncDisposableStack();
  const disks = await openDisks(wishes, stack, signal);
  // They start, as the search for holes does, on one core while another works the passphrase out.
  prepareThreads();
  await using opened = await openVault(flags, context, { compression: flags.compression });
  const base = await baseOf(opened.vault, flags, signal);
  const point = await withMeter(
    context,
    disks.reduce((sum, { source }) => sum + source.size, 0),
    (onProgress) =>
      opened.vault.put(
        {
          name: flags.name,
          disks,
          consistency: { level: flags.consistency, evidence: flags.evidence },
          ...(base ? { base } : {}),
          ...(definition === undefined ? {} : { machine: { definition, files: [] } }),
        },
        { signal, onProgress },
      ),
  );
  await show(context, pointToJson(point), () => putTable(point));
}

type OnProgress = (progress: { readonly disk: string; readonly offset: number; readonly size: number }) => void;

async function withMeter(context: VaultContext, total: number, body: (onProgress: OnProgress) => Promise<Point>): Promise<Point> {
  using meter = new Meter(context.err);
  let before = 0;
  let current: { disk: string; size: number } | undefined;
  return await body(({ disk, offset, size }) => {
    if (current && current.disk !== disk) before += current.size;
    current = { disk, size };
    meter.show(disk, before + offset, total);
  });
}

/** The base that was named, or as a hint the latest point of that name. */
async function baseOf(vault: Vault, { base, name }: PutFlags, signal: AbortSignal): Promise<Point | undefined> {
  if (base !== undefined) return await vault.point(base, { signal });
  try {
    return await vault.point(`${name}@latest`, { signal });
  } catch (error) {
    if (error instanceof VaultError && error.kind === "not-found") return undefined;
    throw error;
  }
}

async function readDefinition(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new CliError(exitCode.usage, `cannot read the machine's definition ${path}`, { cause });
  }
}
