import { randomBytes } from "node:crypto";
import { dirname, join } from "node:path";
import { DomainXmlFlags, isLibvirtError } from "@godwit/libvirt";
import type { NbdSource } from "@godwit/nbd";
import { EngineError } from "../../../model/errors.ts";
import type { HypervisorHost } from "../../../ports/hypervisor.ts";
import type { Adaptation, HostRecovery, ImagePlace } from "../../../ports/recovery.ts";
import type { HostShell } from "../../../ports/shell.ts";
import { engineError } from "../errors.ts";
import { type LibvirtAccess, needDomain, unlessRefused } from "../migration/access.ts";
import { deleteImages } from "../migration/copies.ts";
import { judgeOn } from "../migration/destination.ts";
import { escapeXml, mapDefinition, renewGenerationId } from "../xml/edit.ts";
import { volumeXml } from "../xml/volume.ts";
import { type DomainXml, parseDomain, XmlError } from "../xml/index.ts";
import { NVRAM_FILE, TPM_FILE, TPM_FOLDER } from "./machine.ts";
import { type ExportPlace, openExport, openExportSink } from "./route.ts";
import { serveImage, serves } from "./serve.ts";

/** `$1` key: waits until the servers are gone, and helps after a while. */
const close = `${serves}n=0
for file in /run/godwit-"$1"/*.pid; do
  while serves "$file"; do
    n=$((n + 1)); [ $n -ne 30 ] || kill "$pid"; [ $n -lt 150 ] || exit 4; sleep 0.1
  done
done; rm -rf "/run/godwit-$1"`;

/** `$1` is a file; its content comes in base64. */
const writeFile = `umask 077; mkdir -p "$(dirname "$1")" && base64 -d >"$1"`;
/**
 * `$1` is libvirt's folder of TPMs, `$2` the VM: its state, in base64, takes the place of what is there. swtpm's user must
 * be able to enter the folder; to whom the files belong libvirt settles as it starts the VM.
 */
const writeTpm = `umask 077; new="$1/.godwit-$2"
[ -d "$1" ] || { mkdir -p "$1" && chmod 711 "$1"; } || exit 4
rm -rf "$new" && mkdir "$new" && base64 -d | tar -xpz -C "$new" || exit 4
rm -rf "\${1:?}/\${2:?}" && mv "$new" "$1/$2"`;

interface Parts {
  readonly host: LibvirtAccess;
  readonly shell: HostShell;
}

function isLibvirt(host: HypervisorHost): host is LibvirtAccess {
  return "connection" in host;
}

/** The recovery side of a libvirt host. Images are written through qemu-nbd on the host. */
export function libvirtRecovery(host: HypervisorHost, shell: HostShell): HostRecovery {
  if (!isLibvirt(host)) throw new EngineError("invalid", "this is not a libvirt host");
  const parts: Parts = { host, shell };
  const open = new Map<string, ExportPlace>();
  return {
    defined: (definition) => definedVm(read(definition)),
    judge: (definition, wanted, { signal }) => explained("asking whether it can be recovered", judge(parts, definition, wanted, signal)),
    adapt,
    createImage: (image, { signal }) => explained("making an image", createImage(parts, image, signal)),
    async openImage(key, image, { signal, route = { kind: "ssh" }, direct = false }) {
      const served = { ...image, key, direct, options: ["--discard=unmap"] };
      const place = await serveImage(shell, served, route, signal);
      open.set(`${key} ${image.target}`, place);
      return await openExportSink(place, image.target, signal);
    },
    readImage: (key, { target }, { signal }): Promise<NbdSource> => {
      const place = open.get(`${key} ${target}`);
      if (!place) throw new EngineError("conflict", `the image ${target} is not open`);
      return openExport(place, target, [], signal);
    },
    closeImages: (key, { signal }) => must(shell, [close, "sh", key], signal, "an image that was written stays open on the host"),
    track: (checkpoint, images, { signal }) => track(shell, checkpoint, images, signal),
    define: (definition, files, { signal }) => explained("defining the VM", define(parts, definition, files, signal)),
    savedMemory: (vmId, { signal }) => explained("asking whether its memory was saved", hasSavedMemory(host, vmId, signal)),
    generationId: (vmId, { signal }) => explained("giving the VM another generation ID", giveGenerationId(host, vmId, signal)),
    deleteImages: (paths, { signal }) => explained("deleting images", deleteImages(host.connection, paths, signal)),
  };
}

async function must(shell: HostShell, argv: readonly string[], signal: AbortSignal, what: string, stdin?: string): Promise<void> {
  const { code, stderr } = await shell.run(["/bin/sh", "-c", ...argv], { signal, stdin });
  if (code !== 0) throw new EngineError("hypervisor", `${what}: ${stderr.trim() || `exit code ${code ?? "none"}`}`);
}

async function explained<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw engineError(error, what);
  }
}

function read(definition: string): DomainXml {
  try {
    return parseDomain(definition);
  } catch (error) {
    if (!(error instanceof XmlError)) throw error;
    throw new EngineError("invalid", "the recovery point holds no definition that libvirt could take", {}, { cause: error });
  }
}

async function hasSavedMemory({ connection }: LibvirtAccess, vmId: string, signal: AbortSignal): Promise<boolean> {
  const dom = await needDomain(connection, vmId, signal);
  return (await unlessRefused(connection.remote.domainHasManagedSaveImage({ dom, flags: 0 }, { signal }))) === 1;
}

async function giveGenerationId({ connection: { remote } }: LibvirtAccess, vmId: string, signal: AbortSignal): Promise<void> {
  const dom = await remote.domainLookupByUuid({ uuid: vmId }, { signal });
  const flags = DomainXmlFlags.INACTIVE | DomainXmlFlags.MIGRATABLE | DomainXmlFlags.SECURE;
  const before = await remote.domainGetXmlDesc({ dom, flags }, { signal });
  const xml = renewGenerationId(before);
  if (xml !== before) await remote.domainDefineXmlFlags({ xml, flags: 0 }, { signal });
}

function definedVm({ uuid, name, disks }: DomainXml): ReturnType<HostRecovery["defined"]> {
  return { id: uuid, name, disks: disks.map(({ target, source }) => ({ target, path: source?.path })) };
}

function judge(
  { host }: Parts,
  definition: string,
  { id, name, networks, pool }: Parameters<HostRecovery["judge"]>[1],
  signal: AbortSignal,
): ReturnType<HostRecovery["judge"]> {
  const live = read(definition);
  const coming = { vm: { id, name }, disks: [], nics: live.nics, definition: { live, liveXml: definition, persistentXml: definition } };
  return judgeOn(host, coming, { copies: pool === undefined ? [] : [{ target: "", pool }], networks }, signal);
}

/** See {@link HostRecovery.adapt}. */
export function adapt(definition: string, { id, name, newIdentity, disks, networks }: Adaptation): string {
  const renamed = renewGenerationId(definition)
    .replace(/<name>[^<]*<\/name>/, () => `<name>${escapeXml(name)}</name>`)
    .replace(/<uuid>[^<]*<\/uuid>/, `<uuid>${id}</uuid>`)
    // libvirt refuses another UUID in what the firmware tells the guest.
    .replace(/(<entry name='uuid'>)[^<]*(<\/entry>)/, (_, start: string, end: string) => `${start}${id}${end}`);
  const identified = newIdentity ? withNewIdentity(renamed, name, id) : renamed;
  const mapped = mapDefinition(identified, { disks: disks.map((disk) => ({ ...disk, format: "qcow2" })), networks });
  const result = read(mapped);
  const wrong = disks.find(({ target, path }) => result.disks.find((disk) => disk.target === target)?.source?.path !== path);
  if (wrong || result.uuid !== id || result.name !== name) {
    throw new EngineError(
      "invalid",
      `the definition cannot be adapted (${wrong ? `disk ${wrong.target}` : "its name"}): recover single disks, and define the VM by hand`,
    );
  }
  // What the one VM's firmware would write there, the other's would find.
  if (newIdentity && result.firmware.nvram === undefined && /<nvram\b[^>]*>\s*<source/.test(mapped)) {
    throw new EngineError(
      "invalid",
      "the definition cannot be adapted (its <nvram> is no file of its own): recover single disks, and define the VM by hand",
    );
  }
  return mapped;
}

function withNewIdentity(definition: string, name: string, id: string): string {
  const own = (_: string, start: string, path: string): string => {
    const byName = join(dirname(path.trim()), escapeXml(`${name}_VARS.fd`));
    return start + (byName === path.trim() ? byName.replace(/_VARS\.fd$/, `-${id}_VARS.fd`) : byName);
  };
  return definition
    .replaceAll(/(<mac address=)'[^']*'/g, (_, start: string) => `${start}'${newMac()}'`)
    .replace(/(<nvram\b[^>]*>\s*<source file=')([^']+)(?=')/, own)
    .replace(/(<nvram\b[^>]*>)([^<]*[^<\s][^<]*)(?=<\/nvram>)/, own);
}

/** In QEMU's own range. */
function newMac(): string {
  return ["52", "54", "00", ...[...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

async function createImage(
  { host }: Parts,
  { pool: poolName, name, capacityBytes }: Parameters<HostRecovery["createImage"]>[0],
  signal: AbortSignal,
): Promise<string> {
  const { remote } = host.connection;
  const pool = await remote.storagePoolLookupByName({ name: poolName }, { signal });
  const xml = volumeXml({ name, capacityBytes, format: "qcow2" });
  try {
    const vol = await remote.storageVolCreateXml({ pool, xml, flags: 0 }, { signal });
    return await remote.storageVolGetPath({ vol }, { signal });
  } catch (error) {
    if (!isLibvirtError(error, "STORAGE_VOL_EXIST")) throw error;
    return await remote.storageVolGetPath({ vol: await remote.storageVolLookupByName({ pool, name }, { signal }) }, { signal });
  }
}

/** libvirt makes checkpoints only in running VMs; one whose lists of changes are there already it takes by its description. */
async function track(shell: HostShell, checkpoint: string, images: readonly ImagePlace[], signal: AbortSignal): Promise<string> {
  const add = `qemu-img bitmap --add "$1" "$2" 2>/dev/null || qemu-img info "$1" | grep -q "name: $2\\$"`;
  for (const { path } of images) await must(shell, [add, "sh", path, checkpoint], signal, `no list of changes could be begun in ${path}`);
  const name = escapeXml(checkpoint);
  const disks = images.map(({ target }) => `<disk name='${escapeXml(target)}' checkpoint='bitmap' bitmap='${name}'/>`);
  const seconds = Math.floor(Date.now() / 1000);
  return `<domaincheckpoint><name>${name}</name><creationTime>${seconds}</creationTime><disks>${disks.join("")}</disks></domaincheckpoint>`;
}

async function define(
  { host, shell }: Parts,
  definition: string,
  files: Parameters<HostRecovery["define"]>[1],
  signal: AbortSignal,
): Promise<void> {
  const { firmware, uuid } = read(definition);
  for (const { name, data } of files) {
    const content = Buffer.from(data).toString("base64");
    if (name === NVRAM_FILE && firmware.nvram !== undefined)
      await must(shell, [writeFile, "sh", firmware.nvram], signal, "the firmware's variables could not be written", content);
    if (name === TPM_FILE) await must(shell, [writeTpm, "sh", TPM_FOLDER, uuid], signal, "the TPM's state could not be written", content);
  }
  await host.connection.remote.domainDefineXmlFlags({ xml: definition, flags: 0 }, { signal });
}
