#!/bin/bash
# Removes what dead labs left in ROOT: a lab is dead when nobody holds its lock.
# sweep.sh ROOT; prints the numbers of the labs it removed.

main() {
  set -u
  local root=$1 lock dir
  shopt -s nullglob
  for lock in "$root"/*.lock; do
    dir=${lock%.lock}
    exec 9<"$lock" || continue
    if flock --nonblock 9 && [ "$lock" -ef /dev/fd/9 ]; then
      rm -rf --one-file-system -- "$dir" "$lock" && basename -- "$dir"
    fi
    exec 9<&-
  done
  rmdir --ignore-fail-on-non-empty -- "$root" 2>/dev/null
}

main "$@"
exit 0
