import { createHash } from "node:crypto";
import { join } from "node:path";
import { cached, exists, packageClosure, unpackPackages } from "./debian.ts";
import { LabError } from "./error.ts";
import type { SshdProgram } from "./host-files.ts";
import { run } from "./process.ts";

/**
 * The machine's sshd; or, where none is installed, one that is only unpacked: installing it would start
 * a service that the machine's owner did not ask for.
 */
export async function findSshd(signal: AbortSignal): Promise<SshdProgram> {
  const installed = "/usr/sbin/sshd";
  return (await exists(installed)) ? { path: installed, libraryPath: undefined } : unpackedSshd(signal);
}

export async function unpackedSshd(signal: AbortSignal): Promise<SshdProgram> {
  const isLibrary = (name: string): boolean => name.startsWith("lib") && name !== "libc6" && !name.startsWith("libpam-");
  const packages = await packageClosure(["openssh-server", "openssh-sftp-server"], isLibrary, signal);
  const key = `sshd-${createHash("sha256").update(packages.join("\n")).digest("hex").slice(0, 16)}`;
  const folder = await cached(key, async (building) => {
    await unpackPackages(packages, building, signal);
  });
  const program = { path: join(folder, "usr/sbin/sshd"), libraryPath: libraryPath(folder) };
  const { stdout } = await run(["ldd", program.path], { signal, env: { LD_LIBRARY_PATH: program.libraryPath } });
  const missing = stdout.split("\n").find((line) => line.includes("not found"));
  if (missing !== undefined) {
    throw new LabError("missing", `sshd from the package openssh-server lacks a library (${missing.trim()}): install openssh-server`);
  }
  return program;
}

function libraryPath(folder: string): string {
  const architecture = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  return [`usr/lib/${architecture}`, `lib/${architecture}`].map((path) => join(folder, path)).join(":");
}
