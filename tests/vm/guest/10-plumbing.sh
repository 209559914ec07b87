# shellcheck shell=dash
# The guest itself: what the other scenarios stand on must be true before them.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh

make_eth0 1280
is 'eth0 has the MTU it was made with' "$(mtu_of eth0)" 1280
ok 'eth0 takes a larger MTU' ip link set eth0 mtu 1360
drop_eth0

make_wg wg0 3
is 'the kernel has WireGuard' "$(wg show interfaces)" wg0
is 'three peers, none with keepalive' "$(keepalives wg0)" 3xoff
wg set wg0 peer "$(public_key 2)" persistent-keepalive 25
is 'wg sets a keepalive' "$(keepalives wg0)" '2xoff 1x25'
ip link delete wg0

before=$(cat /proc/sys/net/core/rmem_max)
ok 'net.core.rmem_max can be written' sh -c 'echo 7340032 >/proc/sys/net/core/rmem_max'
is 'net.core.rmem_max keeps what was written' "$(cat /proc/sys/net/core/rmem_max)" 7340032
echo "$before" >/proc/sys/net/core/rmem_max
