/**
 * What `godwit guest-hook` prints: the hook that qemu-ga runs at a freeze and at a thaw. QEMU's own one says nothing of
 * what its scripts came to; this one does, in a file that no freeze reaches, and it never keeps the agent waiting: a
 * guest whose agent waits cannot be thawed. The engine reads the file (adapters/libvirt/backup/writers.ts).
 */
export const guestHook = `#!/bin/sh
# Godwit's hook for QEMU's guest agent: /etc/qemu/fsfreeze-hook, mode 755.
# Runs every executable in /etc/qemu/fsfreeze-hook.d with "freeze" before the file systems are frozen, and with
# "thaw" after they were thawed; thaw may also come without a freeze. What each one came to is in
# /run/godwit-fsfreeze, what they printed in /run/godwit-fsfreeze.log. All freezes together have 3 seconds: who takes
# longer is ended, and the capture is no application-consistent one. Thaws are not ended, only not waited for.

scripts=/etc/qemu/fsfreeze-hook.d
state=/run/godwit-fsfreeze
seconds=3
umask 022

each() {
  for file in "$scripts"/*; do
    case $file in *~ | *.bak | *.orig | *.rpm* | *.dpkg-* | *.sample) continue ;; esac
    [ -f "$file" ] && [ -x "$file" ] && "$1" "$file" "\${file##*/}"
  done
}

freeze_one() {
  left=$((end - $(date +%s)))
  code=124
  if [ $left -gt 0 ]; then
    timeout -s KILL $left "$1" freeze >>"$state.log" 2>&1 </dev/null
    code=$?
    [ $code = 137 ] && code=124
  fi
  echo "freeze $code $2" >>"$state.new"
}

thaw_one() {
  rm -f "$state.code"
  { "$1" thaw; echo $? >"$state.code"; } </dev/null >>"$state.log" 2>&1 &
  tries=30
  while [ ! -s "$state.code" ] && [ $tries -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  code=$(cat "$state.code" 2>/dev/null)
  [ -e "$state" ] && echo "thaw \${code:-124} $2" >>"$state"
}

case $1 in
  freeze)
    freezes=$(sed -n 's/^freezes //p' "$state" 2>/dev/null)
    printf 'godwit-fsfreeze 1\\nfreezes %s\\n' "$((\${freezes:-0} + 1))" >"$state.new"
    : >"$state.log"
    end=$(($(date +%s) + seconds))
    each freeze_one
    mv "$state.new" "$state"
    ;;
  thaw) each thaw_one ;;
esac
# The file systems are frozen whatever the scripts came to: a point that is less than it could be still is one.
exit 0
`;
