#!/bin/bash
# PID 1 of a host: gives it a machine of its own (host name, /etc, /var, /run, /srv, /root, /tmp) over
# the real one's programs, starts what a host runs, and then only reaps: QEMU processes that nobody
# waits for would look alive to libvirt, which waits for their pids to vanish.
# host-init.sh DIR HOST

# An overlay of the machine's $1 whose changes are kept at $2, in the lab's memory.
private_copy() {
  mkdir -p "$2/upper" "$2/work"
  mount -t overlay "lab-${1#/}" -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$1"
}

private_files() {
  local dir=$1 mine=$2 keep=$3
  mount -t tmpfs -o mode=755 lab-srv /srv
  mkdir /srv/shared /srv/local /srv/guest /srv/acks
  mount --bind "$dir/shared" /srv/shared
  mount --bind "$dir/acks" /srv/acks
  mount --bind -o ro "$dir/guest" /srv/guest
  mount --bind "$keep/local" /srv/local
  mount --bind "$mine/root" /root
  mount -t tmpfs lab-tmp /tmp
  mount -t tmpfs lab-shm /dev/shm

  local first_boot=
  [ -e "$keep/etc" ] || first_boot=yes
  private_copy /etc "$keep/etc"
  [ -z "$first_boot" ] || cp -a "$mine/etc/." /etc/
  mkdir -p /etc/libvirt
  mkdir /srv/.mine # $dir lies under /var, which changes now
  mount --bind "$mine" /srv/.mine
  private_copy /var "$keep/var"
  mkdir -p /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
  mount --bind /srv/.mine/lib /var/lib/libvirt
  mount --bind /srv/.mine/log /var/log/libvirt
  rm -rf /srv/.mine/run/*
  mount --bind /srv/.mine/run /run
  umount /srv/.mine
  rmdir /srv/.mine
  mkdir -m 755 /run/sshd
  mount -o remount,bind,ro / # a host's root is not the machine's
}

main() {
  set -eu
  local dir=$1 host=$2
  mount -t sysfs lab-sys /sys
  private_files "$dir" "$dir/hosts/$host" "$dir/private/$host"
  cat /etc/hostname >/proc/sys/kernel/hostname
  echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore # the networks are separate, for ARP too
  echo 0 >/proc/sys/net/ipv4/ip_forward
  source /etc/godwit-lab/services
  start_sshd
  start_libvirtd
  # The first look at an emulator takes its time; take it before somebody waits.
  virsh --connect qemu:///system domcapabilities --virttype qemu >/dev/null 2>&1 &
  echo ready
  exec >/dev/null 2>&1
  while :; do
    sleep infinity &
    wait
  done
}

main "$@"
exit 0
