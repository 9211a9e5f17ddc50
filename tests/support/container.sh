#!/bin/sh
# Runs a command as a container would: as nobody, without capabilities, with everything read-only but two directories.
# unshare --mount --propagation private container.sh DATA TMP USER CLOSED CHILD COMMAND...
# CLOSED/CHILD is where Python lives, if that is below a directory that is closed to others; otherwise both are empty.
set -eu
data=$1 tmp=$2 user=$3 closed=$4 child=$5
shift 5
mount --bind "$data" "$data"
mount --bind "$tmp" "$tmp"
chown "$user:$user" "$data" "$tmp"
if [ -n "$closed" ]; then
  mkdir "$tmp/kept"
  mount --bind "$closed/$child" "$tmp/kept"
  mount -t tmpfs -o mode=755 tmpfs "$closed"
  mkdir "$closed/$child"
  mount --bind "$tmp/kept" "$closed/$child"
fi
while read -r _ _ _ _ place _; do
  case $place in
    "$data" | "$tmp" | /proc* | /sys* | /dev*) ;;
    *) mount -o remount,ro,bind "$place" 2>/dev/null || true ;;
  esac
done </proc/self/mountinfo
if touch /written 2>/dev/null; then
  echo "the root is not read-only" >&2
  exit 125
fi
exec setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
