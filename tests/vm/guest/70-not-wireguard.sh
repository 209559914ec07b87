# shellcheck shell=dash
# A name is not a kind: what is called wg9 may be anything.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
make_eth0 1500
ip link add wg9 mtu 1400 type dummy
ip link set wg9 up
make_wg wg0 2
config <<'T'
[mtu]
interfaces = ["wg0"]
value = 1280
[wireguard]
interfaces = ["wg*"]
keepalive = 25
T
ok 'apply ends well beside a dummy called wg9' agent apply
is 'the real one is served' "$(keepalives wg0)" 2x25
is 'wg9 is a dummy as before' "$(ip -d link show wg9 | grep -cw dummy)" 1
is 'wg9 keeps its MTU: no pattern of [mtu] names it' "$(mtu_of wg9)" 1400
is 'no WireGuard interface was made' "$(wg show interfaces)" wg0
ok 'and wg9 is not called a failure' not grep -Ei 'wg9.*(fail|error|could not)' /tmp/agent.out

# Alone, it must not make the pass fail either.
ip link delete wg0
ok 'apply ends well with wg9 alone' agent apply
is 'still no WireGuard interface' "$(wg show interfaces)" ''
ip link delete wg9
drop_eth0
