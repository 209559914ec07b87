# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# A boot of the machine with the package installed.
ms() { echo "$(($1 / 1000))"; }

if [ "$boots" = 1 ]; then
    cp /proc/sys/kernel/random/boot_id /var/lib/boot-before
    reboot_guest
fi
ok 'the machine has booted anew' not cmp -s /var/lib/boot-before /proc/sys/kernel/random/boot_id
ok 'the service is up' within 60 is_active
ok 'the network file has the address' within 20 network_file_has 'WSL_IP="172.28.16.5"'
ok 'values are set again' within 20 sysctl_is net.core.rmem_max 134217728
began=$(property ExecMainStartTimestampMonotonic)
ready=$(property ActiveEnterTimestampMonotonic)
init=$(guest systemctl show -P UserspaceTimestampMonotonic)
echo "# boot to READY: $(ms $((ready - began))) ms from the unit's start, $(ms $((ready - init))) ms from systemd's, $(ms "$ready") ms from the kernel's"
ok 'READY was seen after the start' [ "$ready" -gt "$began" ]
is 'no unit has failed' "$(guest systemctl --failed --no-legend --plain)" ''
guest systemctl stop $unit
ok 'restore puts the values of this boot back' guest wslmesh restore
is "they are the kernel's" "$(sysctl_of net.core.rmem_max)" 212992
