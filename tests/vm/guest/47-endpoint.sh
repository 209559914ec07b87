# shellcheck shell=dash
# A peer of the kernel's WireGuard that moves: while the agent runs, and while the node has
# no network.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh

endpoint() { wg show wg0 endpoints | cut -f 2; }
is_at() { [ "$(endpoint)" = "$1" ]; }
says() { grep -qF -e "$1" /tmp/run.log; }
name_is() { echo "$1 hub.example.test" >/etc/hosts; }
make_eth0 1500
make_wg wg0 1
was=$(endpoint)
mkdir -p /etc/wireguard
printf '[Peer]\nPublicKey = %s\nEndpoint = hub.example.test:51820\n' "$(public_key 1)" >/etc/wireguard/wg0.conf
name_is "${was%:*}"
config </dev/null
wslmesh run --config /tmp/agent.toml >/tmp/run.log 2>&1 </dev/null &
agent=$!
ok 'the agent runs' within 30 says 'eth0 address 172.28.16.5'
name_is 198.51.100.7
ok "the peer at $was is followed" within 60 is_at 198.51.100.7:51820
ok 'and the agent says so' within 10 says '-> 198.51.100.7:51820 (hub.example.test)'
ip link set eth0 down
ok 'the loss is seen' within 30 says 'is lost'
name_is 198.51.100.8
sleep 7
ip link set eth0 up
ip route add default via 172.28.16.1 dev eth0
ok 'the peer is followed when the network is back' within 120 is_at 198.51.100.8:51820
ok 'the agent says so' within 10 says 'endpoint 198.51.100.7:51820 -> 198.51.100.8:51820 (hub.example.test)'
ok 'the recovery ends' within 120 says 'back after'
is 'nothing else of the peer has changed' "$(wg show wg0 allowed-ips | cut -f 2)" '10.0.1.0/24 fd00:1::/64'
grep 'back after\|endpoint' /tmp/run.log | sed 's/^/# /'
kill "$agent"
wait "$agent" || true
rm /etc/hosts /etc/wireguard/wg0.conf
ip link delete wg0
drop_eth0
