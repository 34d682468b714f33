/**
 * For scripts on a host: `guest_process NAME` sets `pid` to the process of a VM, and fails where there is none. libvirt's
 * file holds its id, without a line's end (qemu_process.c); an id that another process got meanwhile is none.
 * A comma in a name is doubled for QEMU.
 */
export const guestProcess = `guest_process() {
  pid=$(cat "/run/libvirt/qemu/$1.pid" 2>/dev/null) && grep -aqF -- "guest=$(printf %s "$1" | sed 's/,/,,/g')," "/proc/$pid/cmdline"
}
`;
