# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# What a newer systemd and kernel may do otherwise: the main things, once.
ok 'a sysctl of the machine is set' within 20 sysctl_is net.core.rmem_max 134217728
ip link add wg0 type wireguard
guest sh -c 'umask 077; wg genkey >/run/key'
wg set wg0 private-key /run/key peer "$(wg genkey | wg pubkey)" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
ip link set wg0 up
ok 'the MTU of a tunnel becomes 1280' within 20 mtu_is wg0 1280
ok 'its peer gets a keepalive' within 20 keepalive_is 25
set_address 172.28.27.77
ok 'the file follows an address change' within 20 network_file_has 'WSL_IP="172.28.27.77"'
has 'systemd-analyze rates the unit' "$(systemd-analyze security --no-pager $unit | tail -n 1)" '2\.[0-5] '
ok 'apt purges it' apt_get purge wslmesh
is 'the sysctl is back' "$(sysctl_of net.core.rmem_max)" 212992
is 'the MTU is back' "$(mtu_of wg0)" 1420
ip link delete wg0
set_address 172.28.16.5
facts >/run/after
ok 'files, sysctls and MTUs are as before' diff /run/before/facts /run/after
