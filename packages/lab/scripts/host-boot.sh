#!/bin/bash
# Starts a host: run inside the lab's mount and pid namespaces, so that the host's init becomes a child
# of the lab's init. Its standard output says "ready" when sshd and libvirtd accept connections.
# host-boot.sh DIR HOST LOCAL_MIB: the size of its local storage, which outlives the host's crash

main() {
  set -eu
  local dir=$1 host=$2 size=$3
  local storage=$dir/private/$host/local
  if [ ! -d "$storage" ]; then
    mkdir -p "$storage"
    mount -t tmpfs -o "mode=755,size=${size}m" lab-local "$storage"
  fi
  setsid nsenter --net="/run/netns/$host" \
    unshare --mount --propagation private --uts --ipc --pid --fork --kill-child --mount-proc \
    bash "$(dirname -- "$0")/host-init.sh" "$dir" "$host" </dev/null 2>"$dir/hosts/$host/log/init.log" &
}

main "$@"
exit 0
