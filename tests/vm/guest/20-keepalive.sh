# shellcheck shell=dash
# Hundreds of peers on a kernel device: the kernel reports such a device in
# several messages and splits a peer between them, which has made naive loops
# set a keepalive again and again.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
make_eth0 1500
make_wg wg0 400
for i in 7 200 399; do
    wg set wg0 peer "$(public_key "$i")" persistent-keepalive 10
done
is 'before: 400 peers, three with a keepalive of their own' "$(keepalives wg0)" '397xoff 3x10'
wg showconf wg0 | grep -v '^PersistentKeepalive' >/tmp/before

config <<'T'
[wireguard]
interfaces = ["wg*"]
keepalive = 25
T
ok 'apply ends well with 400 peers' agent apply
is 'every peer without a keepalive has 25 now' "$(keepalives wg0)" '397x25 3x10'
for i in 7 200 399; do
    is "peer $i keeps its own" "$(wg show wg0 persistent-keepalive | grep -F "$(public_key "$i")" | cut -f 2)" 10
done
wg showconf wg0 | grep -v '^PersistentKeepalive' >/tmp/after
ok 'keys, shared keys, endpoints and allowed addresses are as before' diff /tmp/before /tmp/after

wg showconf wg0 >/tmp/before
ok 'a second apply ends well' agent apply
wg showconf wg0 >/tmp/after
ok 'a second apply changes nothing' diff /tmp/before /tmp/after
ok 'a second apply says so' grep -Eiq 'nothing|no change|in order|already' /tmp/agent.out

# What must never be printed, whatever else is.
secrets=$(sed -n 's/^PrivateKey = //p' /tmp/before)
ok 'the private key is not printed' not grep -F "$secrets" /tmp/agent.out
ok 'no shared key is printed' not grep -F SHARED /tmp/agent.out

config <<'T'
[wireguard]
interfaces = ["wg*"]
keepalive = 0
T
wg set wg0 peer "$(public_key 1)" persistent-keepalive 0
ok 'apply with keepalive = 0 ends well' agent apply
is 'keepalive = 0 leaves peers alone' "$(keepalives wg0)" '396x25 3x10 1xoff'
ip link delete wg0
drop_eth0
