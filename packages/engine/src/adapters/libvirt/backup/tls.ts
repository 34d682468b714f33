import type { HostTls } from "../../../ports/backup.ts";
import type { HostShell } from "../../../ports/shell.ts";

/**
 * What libvirt serves TLS of a backup with (qemu.conf, backup_tls_*): the folder, whether clients must have
 * certificates, and the host's certificate, which is no secret.
 */
const look = `conf=/etc/libvirt/qemu.conf
value() { sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\\"\\{0,1\\}\\([^\\"#[:space:]]*\\).*/\\1/p" "$conf" 2>/dev/null | tail -n 1; }
folder=$(value backup_tls_x509_cert_dir)
[ -n "$folder" ] || [ ! -d /etc/pki/libvirt-backup ] || folder=/etc/pki/libvirt-backup
[ -n "$folder" ] || folder=$(value default_tls_x509_cert_dir)
folder=\${folder:-/etc/pki/qemu}
verify=$(value backup_tls_x509_verify); [ -n "$verify" ] || verify=$(value default_tls_x509_verify)
for file in ca-cert.pem server-cert.pem server-key.pem; do
  [ -r "$folder/$file" ] || { echo "there is no $folder/$file" >&2; exit 3; }
done
echo "$folder"; echo "\${verify:-1}"; cat "$folder/server-cert.pem"`;

export async function readHostTls(shell: HostShell, signal: AbortSignal): Promise<HostTls> {
  const { code, stdout, stderr } = await shell.run(["/bin/sh", "-c", look], { signal });
  if (code !== 0) return { missing: stderr.trim() || "its TLS credentials could not be looked for" };
  const [directory = "", verify, ...certificate] = stdout.split("\n");
  if (verify !== "1") {
    return { missing: "its libvirt lets in clients without a certificate (backup_tls_x509_verify = 0)" };
  }
  return { directory, certificate: certificate.join("\n") };
}
