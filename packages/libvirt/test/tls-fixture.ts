import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./ssh-fixture.ts";

/** Certificates made with certtool, in directories that libvirt's client and server take as they are. */
export interface TestPki extends AsyncDisposable {
  readonly dir: string;
  /** A directory with cacert.pem, servercert.pem and serverkey.pem. */
  server(name: string, template: string, ca?: "good" | "bad"): Promise<string>;
  /** A directory with cacert.pem, and with clientcert.pem and clientkey.pem unless `certificate` is false. */
  client(name: string, options?: { trusts?: "good" | "bad"; signedBy?: "good" | "bad"; certificate?: boolean }): Promise<string>;
}

export const goodServer = 'cn = "localhost"\ndns_name = "localhost"\nip_address = "127.0.0.1"\nexpiration_days = 7';
export const otherServer = 'cn = "elsewhere"\ndns_name = "elsewhere.example"\nexpiration_days = 7';
export const expiredServer = `${goodServer.replace("expiration_days = 7", "")}activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"`;

export async function makePki(): Promise<TestPki> {
  const dir = await mkdtemp(join(tmpdir(), "godwit-pki-"));
  await Promise.all(
    ["good", "bad"].map(async (ca) => {
      await privateKey(join(dir, `${ca}.key`));
      await writeFile(join(dir, `${ca}.tmpl`), `cn = "${ca} CA"\nca\ncert_signing_key\nexpiration_days = 7\n`);
      await certtool(
        "--generate-self-signed",
        "--load-privkey",
        join(dir, `${ca}.key`),
        "--template",
        join(dir, `${ca}.tmpl`),
        "--outfile",
        join(dir, `${ca}.pem`),
      );
    }),
  );
  const issue = async (into: string, role: "server" | "client", ca: string, template: string): Promise<void> => {
    await privateKey(join(into, `${role}key.pem`));
    await writeFile(join(into, "template"), `${template}\ntls_www_${role}\nencryption_key\nsigning_key\n`);
    await certtool(
      "--generate-certificate",
      "--load-privkey",
      join(into, `${role}key.pem`),
      "--load-ca-certificate",
      join(dir, `${ca}.pem`),
      "--load-ca-privkey",
      join(dir, `${ca}.key`),
      "--template",
      join(into, "template"),
      "--outfile",
      join(into, `${role}cert.pem`),
    );
  };
  const directory = async (name: string, ca: string): Promise<string> => {
    const into = join(dir, name);
    await mkdir(into);
    await copyFile(join(dir, `${ca}.pem`), join(into, "cacert.pem"));
    return into;
  };
  return {
    dir,
    async server(name, template, ca = "good") {
      // The server's own CA file says whose client certificates it takes.
      const into = await directory(name, "good");
      await issue(into, "server", ca, template);
      return into;
    },
    async client(name, { trusts = "good", signedBy = "good", certificate = true } = {}) {
      const into = await directory(name, trusts);
      if (certificate) await issue(into, "client", signedBy, 'cn = "client"\nexpiration_days = 7');
      return into;
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

/** libvirt 9.0 demands the key usage "encryption", which elliptic curve keys cannot have. */
async function privateKey(path: string): Promise<void> {
  await certtool("--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", path);
}

async function certtool(...args: string[]): Promise<void> {
  await run("certtool", args);
}
