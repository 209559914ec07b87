# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# The cable is pulled, the address goes and comes, Windows lowers eth0's MTU.
carrier_is() { [ "$(cat /sys/class/net/eth0/carrier)" = "$1" ]; }
within 20 network_file_has 'WSL_IP="172.28.16.5"'
pid=$(main_pid)
machine link off
ok 'the cable is pulled' within 20 carrier_is 0
has 'ip sees it' "$(ip link show eth0)" 'NO-CARRIER'
set_address 172.28.27.77
ok 'without a cable the file follows an address' within 20 network_file_has 'WSL_IP="172.28.27.77"'
machine link on
ok 'the cable is back' within 20 carrier_is 1
set_address 172.28.27.78
ok 'and the file follows an address' within 20 network_file_has 'WSL_IP="172.28.27.78"'

ip address flush dev eth0 scope global
# With its only address the interface loses its routes, and by those it is found.
ok 'no address: the journal has the code' within 20 journal_has . WSLMESH_HEALTH=no-interface
ok 'status is not healthy' not guest wslmesh status
ok 'the file keeps the last address' network_file_has 'WSL_IP="172.28.27.78"'
set_address 172.28.30.1
ok 'an address is back: the file has it' within 20 network_file_has 'WSL_IP="172.28.30.1"'
ok 'the finding clears' within 20 journal_has 'no-interface.* cleared'
ok 'status is healthy' within 20 guest wslmesh status

ip link add wg0 type wireguard
wg set wg0 peer "$(wg genkey | wg pubkey)" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
ip address add 10.9.0.1/24 dev wg0
ip link set wg0 up
ok 'the tunnel has its MTU' within 20 mtu_is wg0 1280
underlay_carries() { [ "$(mtu_of eth0)" -ge 1340 ]; }
ip link set eth0 mtu 1280
ok 'eth0 lowered to 1280 is raised' within 20 underlay_carries
echo "# eth0 has $(mtu_of eth0)"
is 'the tunnel keeps its own' "$(mtu_of wg0)" 1280
is 'it is the same process' "$(main_pid)" "$pid"
