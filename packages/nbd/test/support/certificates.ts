import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Workshop } from "./processes.ts";

/** A CA, a server's certificate for `localhost` and 127.0.0.1, and a client's; laid out as QEMU wants them. */
export async function makeCertificates(workshop: Workshop, name = "pki"): Promise<string> {
  const directory = workshop.path(name);
  await mkdir(directory);
  const at = (file: string): string => join(directory, file);
  const key = (file: string): readonly string[] => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(file)];
  await workshop.run("openssl", "req", "-x509", ...key("ca-key.pem"), "-out", at("ca-cert.pem"), "-days", "30", "-subj", `/CN=${name} CA`);
  const kinds = {
    server: "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    client: "extendedKeyUsage=clientAuth\n",
  };
  for (const [side, extensions] of Object.entries(kinds)) {
    await writeFile(at("ext"), extensions);
    await workshop.run("openssl", "req", ...key(`${side}-key.pem`), "-out", at("csr"), "-subj", `/CN=${side}`);
    const ca = ["-CA", at("ca-cert.pem"), "-CAkey", at("ca-key.pem"), "-CAcreateserial"];
    await workshop.run(
      "openssl",
      "x509",
      "-req",
      "-in",
      at("csr"),
      ...ca,
      "-out",
      at(`${side}-cert.pem`),
      "-days",
      "30",
      "-extfile",
      at("ext"),
    );
  }
  return directory;
}
