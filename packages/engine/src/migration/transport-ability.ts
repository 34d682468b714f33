import type { HostShell } from "../ports/shell.ts";
import type { TransportAbility } from "./transport.ts";

/** Where QEMU's certificates are: as qemu.conf says for migrations, for all, or as it is built (libvirt, qemu.conf). */
const script = `
conf() { sed -n "s/^ *$1 *= *\\"\\([^\\"]*\\)\\".*/\\1/p" /etc/libvirt/qemu.conf 2>/dev/null | tail -n 1; }
dir=$(conf migrate_tls_x509_cert_dir); dir=\${dir:-$(conf default_tls_x509_cert_dir)}; dir=\${dir:-/etc/pki/qemu}
ok=yes
for name in ca-cert server-cert server-key client-cert client-key; do [ -s "$dir/$name.pem" ] || ok=no; done
echo "certificates $ok"
for file in /run/virtqemud.pid /run/libvirtd.pid /var/run/libvirtd.pid; do
  pid=$(cat "$file" 2>/dev/null)
  if [ -n "$pid" ] && [ -r "/proc/$pid/status" ]; then sed -n 's/^CapEff:[[:space:]]*/capabilities /p' "/proc/$pid/status"; break; fi
done`;

/** The bit of CAP_SYS_RESOURCE (linux, include/uapi/linux/capability.h): with it the daemon raises a guest's limit of locked memory. */
const sysResource = 1n << 24n;

/** What a host can do of what moves may ask of the wire. */
export async function readTransportAbility(shell: HostShell, signal: AbortSignal): Promise<TransportAbility> {
  const { stdout } = await shell.run(["/bin/sh", "-c", script], { signal });
  const capabilities = /^capabilities ([0-9a-f]{1,16})$/m.exec(stdout)?.[1];
  return {
    certificates: /^certificates yes$/m.test(stdout),
    locksMemory: capabilities !== undefined && (BigInt(`0x${capabilities}`) & sysResource) !== 0n,
  };
}
