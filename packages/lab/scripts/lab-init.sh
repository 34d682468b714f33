#!/bin/bash
# PID 1 of a lab's pid namespace; it lives in the machine's network namespace and in the lab's mount
# namespace, whose private mounts hold the lab's network namespaces and what its hosts store.

main() {
  set -eu
  local dir=$1 mode=$2
  mount -t tmpfs -o mode=755 lab-run /run
  mkdir /run/netns
  mkdir "$dir/private"
  mount -t tmpfs -o mode=700 lab-private "$dir/private"
  ip netns add switch
  ip -n switch link set lo up
  echo ready
  exec >/dev/null
  if [ "$mode" = owned ]; then
    # Ends with the owner: its end of the pipe is closed by the kernel.
    while read -r; do :; done
  else
    exec </dev/null
    while :; do
      sleep infinity &
      wait
    done
  fi
}

main "$@"
exit 0
