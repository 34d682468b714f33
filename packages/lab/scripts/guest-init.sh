#!/bin/busybox sh
# PID 1 of a guest of the lab: brings up its devices, mounts its data disk, starts the guest agent and
# the workloads that the kernel's command line names, and shuts down when asked.
#   godwit.records=SLOTS,RATE   writes records (guest-records.sh)
#   godwit.dirty=RATE,BYTES,MIB rewrites MIB of memory, RATE MiB a second or as much as it can, by so many bytes at a time

/bin/busybox --install -s /bin
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp /data /dev/virtio-ports
mount -t tmpfs run /run
ln -s /run /var/run

for module in $(cat /modules); do insmod "$module"; done

option() {
  for word in $(cat /proc/cmdline); do
    case $word in "godwit.$1="*) echo "${word#*=}" ;; esac
  done
}
hostname "$(option name)"
ifconfig lo 127.0.0.1 up
for link in /sys/class/net/eth*; do [ -e "$link" ] && ifconfig "${link##*/}" up; done

for port in /sys/class/virtio-ports/*; do
  [ -e "$port/name" ] && ln -s "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
qemu-ga --daemonize --method virtio-serial --path /dev/virtio-ports/org.qemu.guest_agent.0 --statedir /run

if [ -b /dev/vda ] && mount -t ext4 /dev/vda /data; then
  records=$(option records)
  [ -n "$records" ] && setsid guest-records "${records%,*}" "${records#*,}" >/dev/console 2>&1 &
fi

dirty_memory() {
  mkdir /dirty
  mount -t tmpfs dirty /dirty
  head -c 1048576 /dev/urandom >/dirty/grain
  n=0
  while [ $n -lt "$3" ]; do
    cat /dirty/grain >>/dirty/one
    n=$((n + 1))
  done
  # In quarters of a second: what is written at the beginning of each second only is seen by some samples, and not by others.
  quarter=$(($1 * 262144)) size=$(($3 * 1048576))
  turn=0 at=0
  while :; do
    read -r before _ </proc/uptime
    # Each time from another page on, so that every page gets other content: QEMU's sampling sees no rewriting of the same.
    [ $at -ge $size ] && at=0 turn=$(((turn + 4096) % 1048576))
    dd if=/dirty/one of=/dirty/other bs="$2" iflag=skip_bytes,count_bytes skip=$((turn + at)) count=$quarter \
      oflag=seek_bytes seek=$at conv=notrunc 2>/dev/null
    at=$((at + quarter))
    read -r after _ </proc/uptime
    left=$((25 - (${after%.*} - ${before%.*}) * 100 - 1${after#*.} + 1${before#*.}))
    [ $left -gt 0 ] && usleep $((left * 10000))
  done
}
dirty=$(option dirty | tr , ' ')
[ -n "$dirty" ] && dirty_memory $dirty &

# Answers ACPI's power button, which is one of the event devices.
for device in /sys/class/input/event*; do
  [ "$(cat "$device/device/name" 2>/dev/null)" = "Power Button" ] || continue
  (
    head -c 1 "/dev/input/${device##*/}" >/dev/null
    exec /sbin/shutdown
  ) &
done

while :; do
  sleep 3600 &
  wait
done
