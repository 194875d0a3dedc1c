#!/bin/sh
# Takes a test host down when the harness that booted it has ended, however it ended: watchdog.sh CGROUP FOLDER.
# Reads from the harness: a line says that there is nothing to do, the end of the input that the harness is gone.
trap '' INT TERM HUP QUIT
cgroup=$1 folder=$2
if read -r _; then exit 0; fi

echo 1 >"$cgroup/cgroup.kill"
tries=0
while grep -q 'populated 1' "$cgroup/cgroup.events" && [ "$tries" -lt 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
find "$cgroup" -depth -type d -exec rmdir {} \;
umount --lazy "$folder/tree"
rm -rf --one-file-system "$folder" "$folder.lock"
