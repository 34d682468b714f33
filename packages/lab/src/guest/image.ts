import { createHash } from "node:crypto";
import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { cached, packageClosure, unpackPackages } from "../debian.ts";
import { LabError } from "../error.ts";
import { script } from "../paths.ts";
import { run } from "../process.ts";

/** What guests boot: Debian's cloud kernel, and an initrd that is the whole of their system. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

const kernelPackage = "linux-image-cloud-amd64";
const agentPackage = "qemu-guest-agent";

/** Drivers that are modules in Debian's cloud kernel; what they need comes with them. */
const modules = [
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_console",
  "virtio_rng",
  "virtio-rng",
  "virtio_balloon",
  "evdev",
  "button",
];

/** Built from Debian packages once for each set of their versions, in a few seconds, and kept. */
export async function guestImage(signal: AbortSignal): Promise<GuestImage> {
  if (process.arch !== "x64") throw new LabError("missing", `the lab's guests are for x86-64, not for ${process.arch}`);
  const wanted = (name: string): boolean => /^linux-image-\d/.test(name) || /^(lib(?!pam|debian|perl)|zlib)/.test(name);
  const packages = await packageClosure([kernelPackage, "busybox-static", agentPackage], wanted, signal);
  const scripts = await Promise.all(guestScripts.map(([name]) => readFile(script(name))));
  const hash = createHash("sha256").update(JSON.stringify([modules, packages]));
  for (const text of scripts) hash.update(text);
  const folder = await cached(`guest-${hash.digest("hex").slice(0, 16)}`, async (building) => {
    await build(building, packages, signal);
  });
  return { kernel: join(folder, "vmlinuz"), initrd: join(folder, "initrd") };
}

const guestScripts = [
  ["guest-init.sh", "init"],
  ["guest-shutdown.sh", "sbin/shutdown"],
  ["guest-records.sh", "bin/guest-records"],
] as const;

async function build(folder: string, packages: readonly string[], signal: AbortSignal): Promise<void> {
  const unpacked = join(folder, "unpacked");
  const root = join(folder, "root");
  await mkdir(unpacked);
  await unpackPackages(packages, unpacked, signal);
  for (const path of ["bin", "sbin", "lib", "var", "etc", "proc", "sys", "dev"]) await mkdir(join(root, path), { recursive: true });
  await copyFile(join(unpacked, "bin/busybox"), join(root, "bin/busybox"));
  await copyAgent(unpacked, root, signal);
  const version = await copyModules(unpacked, root, signal);
  for (const [name, path] of guestScripts) {
    await copyFile(script(name), join(root, path));
    await chmod(join(root, path), 0o755);
  }
  await copyFile(join(unpacked, `boot/vmlinuz-${version}`), join(folder, "vmlinuz"));
  // Not compressed: emulated guests take longer to unpack than the host takes to hand it over.
  const files = await run([join(root, "bin/busybox"), "find", "."], { signal, cwd: root });
  await run(["bash", "-c", 'exec "$1" cpio -o -H newc >"$2"', "cpio", join(root, "bin/busybox"), join(folder, "initrd")], {
    signal,
    cwd: root,
    input: files.stdout,
  });
  await rm(unpacked, { recursive: true });
  await rm(root, { recursive: true });
}

/** The agent with exactly the libraries that it loads, all of them from the packages. */
async function copyAgent(unpacked: string, root: string, signal: AbortSignal): Promise<void> {
  const agent = join(unpacked, "usr/sbin/qemu-ga");
  await copyFile(agent, join(root, "bin/qemu-ga"));
  const path = ["lib", "usr/lib"].map((lib) => join(unpacked, lib, "x86_64-linux-gnu")).join(":");
  const { stdout } = await run(["ldd", agent], { signal, env: { PATH: process.env["PATH"], LD_LIBRARY_PATH: path } });
  await symlink("lib", join(root, "lib64"));
  await cp(join(unpacked, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), join(root, "lib/ld-linux-x86-64.so.2"), { dereference: true });
  for (const match of stdout.matchAll(/=> (\S+)/g)) {
    const library = match[1] ?? "";
    if (!library.startsWith(unpacked))
      throw new LabError("missing", `the guest agent needs ${basename(library)}, which no package brought`);
    await cp(library, join(root, "lib", basename(library)), { dereference: true });
  }
}

/** Copies the drivers, and lists them in `/modules` in the order to load them. Returns the kernel's version. */
async function copyModules(unpacked: string, root: string, signal: AbortSignal): Promise<string> {
  const all = join(unpacked, "lib/modules");
  const version = (await readdir(all))[0] ?? "";
  await run([join(unpacked, "bin/busybox"), "depmod", "-b", unpacked, version], { signal });
  const needs = new Map<string, string[]>();
  for (const line of (await readFile(join(all, version, "modules.dep"), "utf8")).split("\n")) {
    const [path = "", rest = ""] = line.split(":");
    needs.set(path, rest.split(" ").filter(Boolean));
  }
  const ordered = new Set<string>();
  const add = (path: string): void => {
    for (const need of needs.get(path) ?? []) add(need);
    ordered.add(path);
  };
  for (const [path] of needs) if (modules.includes(basename(path).replace(/\.ko.*$/, ""))) add(path);
  for (const path of ordered) {
    await mkdir(dirname(join(root, "lib/modules", path)), { recursive: true });
    await copyFile(join(all, version, path), join(root, "lib/modules", path));
    if (path.endsWith(".xz")) await run([join(unpacked, "bin/busybox"), "unxz", join(root, "lib/modules", path)], { signal });
  }
  await writeFile(join(root, "modules"), [...ordered].map((path) => `/lib/modules/${path.replace(/\.xz$/, "")}\n`).join(""));
  return version;
}
