#!/bin/busybox sh
# /sbin/shutdown of a guest: the agent calls it, too.
/bin/busybox pkill -f guest-records
/bin/busybox sync
/bin/busybox umount /data
case "$*" in
  *-r*) exec /bin/busybox reboot -f ;;
  *) exec /bin/busybox poweroff -f ;;
esac
