import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { SecureContextOptions } from "node:tls";
import { toError } from "@godwit/core";
import type { Environment } from "../uri/index.ts";
import { TlsError } from "./tls-error.ts";

/** PEM texts, instead of libvirt's files. */
export interface TlsCredentials {
  readonly ca: string | Uint8Array;
  /** Without one the server must be configured not to ask. */
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
  readonly passphrase?: string | undefined;
}

type Pem = Pick<SecureContextOptions, "ca" | "cert" | "key" | "crl">;
type Role = keyof Pem;

const systemFiles: Readonly<Record<Role, string>> = {
  ca: "/etc/pki/CA/cacert.pem",
  crl: "/etc/pki/CA/cacrl.pem",
  cert: "/etc/pki/libvirt/clientcert.pem",
  key: "/etc/pki/libvirt/private/clientkey.pem",
};

/**
 * Reads the client's files from where libvirt has them (`virNetTLSContextLocateCredentials`): with a
 * `pkiPath` all of them from there, and CA, certificate and key must exist; else ~/.pki/libvirt (not for
 * root), then /etc/pki, where certificate and key may be missing.
 */
export async function readCredentials(pkiPath: string | undefined, env: Environment): Promise<Pem> {
  if (pkiPath !== undefined) return load(filesIn(pkiPath), ["ca", "cert", "key"]);
  const own = env.uid === 0 ? {} : await load(filesIn(join(env.home, ".pki/libvirt")), []);
  const system = await load(systemFiles, own.ca === undefined ? ["ca"] : []);
  // Certificate and key belong together: never one of each place.
  const pair = own.cert !== undefined && own.key !== undefined ? own : system;
  return withoutUndefined({ ca: own.ca ?? system.ca, crl: own.crl ?? system.crl, cert: pair.cert, key: pair.key });
}

function filesIn(dir: string): Readonly<Record<Role, string>> {
  return { ca: join(dir, "cacert.pem"), crl: join(dir, "cacrl.pem"), cert: join(dir, "clientcert.pem"), key: join(dir, "clientkey.pem") };
}

async function load(files: Readonly<Record<Role, string>>, required: readonly Role[]): Promise<Pem> {
  const roles = Object.keys(files) as Role[];
  const outcomes = await Promise.allSettled(roles.map((role) => readIfThere(files[role], required.includes(role))));
  const unreadable = outcomes.flatMap((outcome, index) =>
    outcome.status === "rejected" ? [{ path: files[roles[index]!], cause: toError(outcome.reason) }] : [],
  );
  if (unreadable.length > 0) throw cannotRead(unreadable);
  const contents = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : undefined));
  const pem = withoutUndefined(Object.fromEntries(roles.map((role, index) => [role, contents[index]])) as Pem);
  if ((pem.cert === undefined) !== (pem.key === undefined)) {
    const missing = pem.cert === undefined ? files.cert : files.key;
    throw new TlsError("files", `${missing} is missing; a client certificate and its key belong together`, { path: missing });
  }
  return pem;
}

async function readIfThere(path: string, required: boolean): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && !required) return undefined;
    throw error;
  }
}

/** All of them, in the order of the files: whoever mends one should not have to come back for the next. */
function cannotRead(files: readonly { readonly path: string; readonly cause: Error }[]): TlsError {
  const paths = files.map(({ path }) => path);
  return new TlsError(
    "files",
    `${paths.join(", ")} cannot be read; put libvirt's certificates there, or use ?pkipath= or the tls options`,
    { path: paths[0]!, paths },
    { cause: files[0]!.cause },
  );
}

function withoutUndefined(pem: { readonly [K in keyof Pem]: Pem[K] | undefined }): Pem {
  return Object.fromEntries(Object.entries(pem).filter(([, value]) => value !== undefined));
}
