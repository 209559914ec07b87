# shellcheck shell=dash
# A tunnel's MTU and the underlay that must carry it, where WSL has copied a
# Windows VPN's 1280 to eth0.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh

# with UNDERLAY: one apply over a fresh machine.
with() {
    make_eth0 1280
    make_wg wg0 1
    [ "$(mtu_of wg0)" = 1420 ] || { echo 'the tunnel does not start at 1420'; return 1; }
    config <<T
[mtu]
interfaces = ["wg*"]
value = 1280
underlay = "$1"
T
    # 3 says "degraded": the change was made, and something is worth knowing.
    agent apply || [ $? = 3 ]
}

ok 'underlay = raise: apply ends well' with raise
is 'raise: the tunnel has the wanted MTU' "$(mtu_of wg0)" 1280
ok "raise: eth0 carries tunnel and header ($(mtu_of eth0))" test "$(mtu_of eth0)" -ge 1340
raised=$(mtu_of eth0)
ok 'raise: a second apply ends well' agent apply
is 'raise: a second apply leaves eth0' "$(mtu_of eth0)" "$raised"
is 'raise: a second apply leaves the tunnel' "$(mtu_of wg0)" 1280
ok 'raise: restore ends well' agent restore
is 'raise: restore gives eth0 its MTU back' "$(mtu_of eth0)" 1280
is 'raise: restore gives the tunnel its MTU back' "$(mtu_of wg0)" 1420
ip link delete wg0
drop_eth0

ok 'underlay = lower-tunnel: apply ends well' with lower-tunnel
is 'lower-tunnel: eth0 is left alone' "$(mtu_of eth0)" 1280
lowered=$(mtu_of wg0)
ok "lower-tunnel: the tunnel fits into eth0 ($lowered)" test "$lowered" -le 1220 -a "$lowered" -ge 576
ip link delete wg0
drop_eth0

ok 'underlay = leave: apply ends well' with leave
is 'leave: eth0 is left alone' "$(mtu_of eth0)" 1280
is 'leave: the tunnel has the wanted MTU' "$(mtu_of wg0)" 1280
ip link delete wg0
drop_eth0
