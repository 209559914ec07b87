#!/bin/bash
# Waits for a job and runs it; the service that the tests have in the guest.
#
# Lines to the port are the job's output; those that begin with @ are for vm.py:
# @ready STATE, @exit STATUS, and what the job asks the machine for (job.sh).
set -u

# The other end of eth0's wire is Windows.
ip netns add windows
ip link set eth1 netns windows name windows
ip -n windows address add 172.28.16.1/20 dev windows
ip -n windows link set windows up
ip -n windows link set lo up

# Or dpkg's trigger of man-db would read every page anew, which takes a minute here.
rm -f /var/lib/man-db/auto-update

# There is no udev that would name the port.
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat "$port/name")" = job ]; then device=/dev/${port##*/}; fi
done
state=$(systemctl is-system-running --wait)
exec 3<>"$device"
systemctl --failed --plain --no-legend >&3
echo "@ready $state" >&3
# The saved state is of this moment: with the clock of then, and with a disk that has
# another job in it by now.
while read -r now boots <&3; do
    date -s "@$now" >/dev/null
    blockdev --flushbufs /dev/vdc
    rm -rf /run/job
    mkdir -p /run/job
    tar -xf /dev/vdc -C /run/job
    bash /run/job/job.sh "$boots" >&3 2>&1 </dev/null
    status=$?
    printf '\n@exit %s\n' "$status" >&3
done
