import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../../src/index.ts";

export const mib: number = 1 << 20;

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Called with everything printed so far. */
  readonly onOut?: (text: string) => void;
}

/** `godwit vault` in this process, on a vault in a temporary folder that a key file opens. */
export class VaultCli implements AsyncDisposable {
  readonly folder: string;
  env: NodeJS.ProcessEnv;

  private constructor(folder: string) {
    this.folder = folder;
    this.env = { GODWIT_VAULT: this.at("vault"), GODWIT_KEY_FILE: this.at("first.key") };
  }

  static async make(): Promise<VaultCli> {
    const cli = new VaultCli(await mkdtemp(join(tmpdir(), "godwit-vault-")));
    await writeFile(cli.at("first.key"), randomBytes(32));
    await cli.json("init");
    return cli;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  async run(args: readonly string[], { signal = new AbortController().signal, onOut }: RunOptions = {}): Promise<Ran> {
    let out = "";
    let err = "";
    const code = await runCommand(["vault", ...args], {
      env: this.env,
      version: "1.2.3",
      signal,
      out: {
        isTerminal: false,
        columns: 80,
        write: (text) => {
          out += text;
          onOut?.(out);
        },
      },
      err: { isTerminal: false, columns: 80, write: (text) => void (err += text) },
    });
    return { code, out, err };
  }

  /** What a command that ends well prints with `-o json`. */
  async json<T>(...args: readonly string[]): Promise<T> {
    const { code, out, err } = await this.run([...args, "-o", "json"]);
    assert.equal(code, 0, err);
    return JSON.parse(out) as T;
  }

  /** A sparse image of 8 MiB with random data in two places. */
  async makeImage(name: string): Promise<Buffer> {
    const content = Buffer.alloc(8 * mib);
    content.set(randomBytes(mib), mib);
    content.set(randomBytes(300_000), 6 * mib + 4096);
    await using file = await open(this.at(name), "w");
    await file.truncate(content.length);
    await file.write(content, mib, mib, mib);
    await file.write(content, 6 * mib, mib, 6 * mib);
    return content;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}
