# shellcheck shell=dash
# A tunnel that comes up while the agent runs, as wg-quick brings one up.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
make_eth0 1500
config <<'T'
[mtu]
interfaces = ["wg*"]
value = 1280
[wireguard]
interfaces = ["wg*"]
keepalive = 25
T
wslmesh run --config /tmp/agent.toml >/tmp/run.out 2>&1 </dev/null &
pid=$!
ok 'the first pass wrote the address' within 30 grep -Eq '^WSL_IP="?172\.28\.16\.5"?$' /tmp/wsl-network.conf

make_wg wg7 5
has_mtu() { [ "$(mtu_of wg7)" = 1280 ]; }
has_keepalive() { [ "$(keepalives wg7)" = 5x25 ]; }
ok 'the new tunnel gets its MTU' within 30 has_mtu
ok 'its peers get a keepalive' within 30 has_keepalive

# The MTU is put back: a link event, so the agent looks again.
ip link set wg7 mtu 1420
ok 'the MTU is set again after another program changed it' within 30 has_mtu

ip address delete 172.28.16.5/20 dev eth0
ip address add 172.29.64.7/20 dev eth0
ip route replace default via 172.29.64.1 dev eth0
ok 'a new address reaches the file' within 30 grep -Eq '^WSL_IP="?172\.29\.64\.7"?$' /tmp/wsl-network.conf

kill -TERM "$pid"
gone() { ! kill -0 "$pid"; }
ok 'SIGTERM ends it' within 20 gone
run_status=0
wait "$pid" || run_status=$?
is 'and it ends with' "$run_status" 0
[ "$run_status" = 0 ] || sed 's/^/#   /' /tmp/run.out | tail -n 20
ip link delete wg7
drop_eth0
