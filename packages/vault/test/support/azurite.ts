import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { ContainerClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { Daemons, freePort } from "./daemons.ts";

const execute = promisify(execFile);
const version = "3.35.0";
const account = "godwittest";

export interface AzureServer extends AsyncDisposable {
  readonly account: string;
  readonly endpoint: string;
  readonly environment: { readonly AZURE_STORAGE_KEY: string };
  makeContainer(name: string): Promise<void>;
}

/**
 * Microsoft's emulator of Azure Storage. It brings 370 packages and 186 MB, too much for every clone, so that
 * the first test that needs it installs it into `.cache`. MIT licence.
 */
async function installed(): Promise<string> {
  const folder = resolve(import.meta.dirname, "../../../../.cache", `azurite-${version}`);
  const program = join(folder, "node_modules/azurite/dist/src/blob/main.js");
  if (existsSync(program)) return program;
  await mkdir(dirname(folder), { recursive: true });
  const building = await mkdtemp(`${folder}-`);
  try {
    const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"];
    await execute("npm", ["install", "--prefix", building, ...quiet, `azurite@${version}`], { cwd: building, timeout: 240_000 });
    await rename(building, folder).catch((error: unknown) => {
      if (!existsSync(program)) throw error; // somebody else was faster: theirs is as good
    });
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return program;
}

export async function startAzurite(): Promise<AzureServer> {
  const program = await installed();
  const daemons = await Daemons.open();
  try {
    const port = await freePort();
    const key = randomBytes(64).toString("base64");
    const args = ["--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", daemons.path("data")];
    const quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"];
    await daemons.serve(port, process.execPath, [program, ...args, ...quiet], { AZURITE_ACCOUNTS: `${account}:${key}` });
    const endpoint = `http://127.0.0.1:${port}/${account}`;
    return {
      account,
      endpoint,
      environment: { AZURE_STORAGE_KEY: key },
      makeContainer: async (name) => {
        await new ContainerClient(`${endpoint}/${name}`, new StorageSharedKeyCredential(account, key)).create();
      },
      [Symbol.asyncDispose]: () => daemons[Symbol.asyncDispose](),
    };
  } catch (error) {
    await daemons[Symbol.asyncDispose]();
    throw error;
  }
}
