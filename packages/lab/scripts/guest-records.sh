#!/bin/busybox sh
# Writes numbered records to /data/records, RATE a second, and acknowledges each to the host, but only
# after it is durable. The file is a ring of SLOTS blocks of 4096 bytes; record n (from 1) is in block
# (n - 1) modulo SLOTS. A block is one line of 64 bytes, 64 times over, so that any part of it that is
# not of this write shows:
#   godwit NUMBER(12) RUN(8, hex, of this boot) UPTIME(12, 1/100 s) CHECK(10) SLOTS(6) end
# CHECK is (NUMBER * 2654435761 + UPTIME * 40503 + RUN) modulo 2^32. packages/lab/src/records reads it.
#
# Acknowledgements, one line each: "NUMBER RUN UPTIME"; "# start RUN NUMBER" with the last number found
# on disk, "# error NUMBER" when a write failed and is tried again.
#
# The loop starts one process for each record (dd, for its fsync); a here-document up to the size of a
# pipe needs none.

slots=$1 rate=$2
echo $$ >/run/records.pid
cd /data && file=records || exit # relative: never written but on this disk, also while it is unmounted
exec 3>/dev/virtio-ports/org.godwit.records.0
mkfifo /run/never && exec 4<>/run/never
read -r run </proc/sys/kernel/random/boot_id
run=${run%%-*}

# The number in a block, 0 when it holds none or not wholly one.
number_at() {
  block=$(dd if=$file bs=4096 skip="$1" count=1 2>/dev/null | uniq)
  case $block in
    "godwit "????????????" "????????" "*" end") set -- $block ;;
    *) set -- godwit 0 ;;
  esac
  number=${2:-0}
  while [ "${number#0}" != "$number" ] && [ "$number" != 0 ]; do number=${number#0}; done
}

# The last record is where the numbers stop counting up.
last_number() {
  last=0
  [ -e $file ] || return
  number_at 0
  last=$number
  [ "$last" = 0 ] && return
  low=0 high=$(($(stat -c %s $file) / 4096))
  while [ $((high - low)) -gt 1 ]; do
    middle=$(((low + high) / 2))
    number_at $middle
    if [ "$number" = $((last + middle)) ]; then low=$middle; else high=$middle; fi
  done
  last=$((last + low))
}

last_number
seq=$last
echo "# start $run $seq" >&3
slots6=000000$slots
slots6=${slots6#"${slots6%??????}"}
newline='
'
pause=$((1000 / rate))
next=0
while :; do
  seq=$((seq + 1))
  read -r up _ </proc/uptime
  up=${up%.*}${up#*.}
  while [ "${up#0}" != "$up" ]; do up=${up#0}; done
  s=000000000000$seq
  u=000000000000$up
  c=0000000000$(((seq * 2654435761 + up * 40503 + 0x$run) & 0xffffffff))
  b="godwit ${s#"${s%????????????}"} $run ${u#"${u%????????????}"} ${c#"${c%??????????}"} $slots6 end$newline"
  b=$b$b$b$b
  b=$b$b$b$b
  b=$b$b$b$b
  until dd of=$file bs=4096 seek=$(((seq - 1) % slots)) count=1 iflag=fullblock conv=notrunc,fsync 2>/dev/null <<END
${b%?}
END
  do
    echo "# error $seq" >&3
    read -r -t 0.2 _ <&4
  done
  echo "$seq $run $up" >&3
  # Keep the rate, and do not catch up after a pause.
  next=$((next + pause))
  read -r now _ </proc/uptime
  now=${now%.*}${now#*.}
  while [ "${now#0}" != "$now" ]; do now=${now#0}; done
  now=$((now * 10))
  left=$((next - now))
  if [ $left -gt 0 ] && [ $left -le $pause ]; then
    left=000$left
    read -r -t "0.${left#"${left%???}"}" _ <&4
  else
    next=$now
  fi
done
