#!/bin/bash
# The outermost process of a lab: holds the lab's number by a lock for as long as the lab lives, and
# removes what the lab leaves behind. Everything else of a lab (processes, network and mount namespaces,
# mounts, links) hangs on the pid namespace of lab-init.sh and ends with it, whatever is killed how:
# the keeper's death kills unshare (pdeathsig), unshare's kills the init (--kill-child), and the init's
# kills all the rest (the kernel).
#
# keeper.sh DIR UPLINK owned|detached; exit 75: another lab has this number.
# "owned": the lab ends when standard input does, that is when its owner ends, however that happens.

main() {
  set -u
  dir=$1 uplink=$2 lock=$1.lock child= # not local: the traps need them
  local mode=$3
  exec 9>"$lock" || exit 76 # the folder went away: another lab's keeper tidied up
  flock --nonblock 9 || exit 75
  [ "$lock" -ef /dev/fd/9 ] || exit 75 # its last holder removed the file while we opened it

  unplug() {
    local link
    for link in /sys/class/net/"$uplink" /sys/class/net/"$uplink"-*; do [ ! -e "$link" ] || ip link delete "${link##*/}" 2>/dev/null; done
  }
  clean_up() {
    unplug
    rm -rf --one-file-system -- "$dir" "$lock"
    rmdir --ignore-fail-on-non-empty -- "$(dirname -- "$dir")" 2>/dev/null
  }
  trap clean_up EXIT
  rm -rf --one-file-system -- "$dir" # of a dead lab that had this number
  unplug
  mkdir --mode=700 -- "$dir" || exit 1
  echo $$ >"$dir/keeper.pid"
  exec 2>"$dir/keeper.log"

  setpriv --pdeathsig KILL unshare --mount --propagation private --ipc --uts --pid --fork --kill-child --mount-proc \
    bash "$(dirname -- "$0")/lab-init.sh" "$dir" "$mode" <&0 9>&- &
  child=$!
  exec </dev/null >/dev/null
  # The init itself: unshare ends after it, and it after all the rest. Before there is one, unshare.
  end_lab() {
    local init
    read -r init <"/proc/$child/task/$child/children" 2>/dev/null
    kill -KILL "${init:-$child}"
  }
  trap end_lab TERM INT HUP
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
}

main "$@"
exit 0
