/**
 * For scripts on a host: `guest_process NAME` sets `pid` to the process of a VM, and fails where there is none. libvirt's
 * file holds its id, without a line's end (qemu_process.c); an id that another process got meanwhile is none.
 */
export const guestProcess = `guest_process() {
  pid=$(cat "/run/libvirt/qemu/$1.pid" 2>/dev/null) && grep -aq "guest=$1," "/proc/$pid/cmdline"
}
`;
