# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# Values that the whole machine has, and all of them back after a removal.
ok 'net.core.rmem_max is set' within 20 sysctl_is net.core.rmem_max 134217728
ok 'net.core.wmem_max is set' within 20 sysctl_is net.core.wmem_max 134217728
ip link add wg0 type wireguard
ip link set wg0 up
ok 'the MTU of a tunnel becomes 1280' within 20 mtu_is wg0 1280
ok 'apt removes it' apt_get remove wslmesh
ok 'the service is stopped' not guest systemctl is-active -q $unit
is 'net.core.rmem_max is back' "$(sysctl_of net.core.rmem_max)" 212992
is 'net.core.wmem_max is back' "$(sysctl_of net.core.wmem_max)" 212992
is 'the MTU is back' "$(mtu_of wg0)" 1420
ok 'the configuration is kept' guest test -e /etc/wslmesh/wslmesh.toml
ip link delete wg0
ok 'apt purges it' apt_get purge wslmesh
facts >/run/after
ok 'files, sysctls and MTUs are as before the installation' diff /run/before/facts /run/after
