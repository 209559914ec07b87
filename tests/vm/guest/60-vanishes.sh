# shellcheck shell=dash
# Interfaces and peers that go away while a pass is at work. The kernel creates
# what it is asked for unless asked not to, so a late update can bring
# back a dead interface or a removed peer.
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
rounds=40  # as many as fit into the time,
seconds=10 # but
least=5    # on the slowest machine

# How long one apply takes here, so that the blow falls anywhere within it.
make_wg wg0 20
read -r start _ </proc/uptime
ok 'apply ends well' agent apply
read -r end _ </proc/uptime
span=$(awk -v a="$start" -v b="$end" 'BEGIN { print int((b - a) * 1200000) + 20000 }')
ip link delete wg0
echo "# one apply takes up to $span us"

# in_time: whether time is left for a further round. Starts the clock when round = 0.
in_time() {
    [ "$round" != 0 ] || end=$(($(date +%s) + seconds))
    [ "$round" -lt "$rounds" ] && { [ "$round" -lt "$least" ] || [ "$(date +%s)" -lt "$end" ]; }
}

# strike: starts an apply over a new wg0 and returns within it, each time later.
# Every seventh step, so that few rounds cover the span as well as many.
strike() {
    make_wg wg0 20
    agent apply >/tmp/apply.log &
    pid=$!
    usleep "$((span * (round * 7 % rounds) / rounds))"
}

# over: waits for the apply. 0 fine, 1 failed, 3 degraded; more is a signal or a panic.
over() {
    apply_status=0
    wait "$pid" || apply_status=$?
    [ "$apply_status" -le 3 ] || { crashes=$((crashes + 1)); cat /tmp/apply.log; }
}

ghosts=0 crashes=0 round=0
while in_time; do
    round=$((round + 1))
    strike
    ip link delete wg0
    over
    if [ -e /sys/class/net/wg0 ]; then
        ghosts=$((ghosts + 1))
        ip link delete wg0
    fi
done
is "interface removed within apply, $round times: interfaces that came back" "$ghosts" 0
is 'and applies that crashed' "$crashes" 0

ghosts=0 crashes=0 missed=0 round=0
while in_time; do
    round=$((round + 1))
    strike
    for i in 3 11 20; do
        wg set wg0 peer "$(public_key "$i")" remove
    done
    over
    if [ "$(wg show wg0 peers | wc -l)" != 17 ]; then
        ghosts=$((ghosts + 1))
        echo "# round $round: $(wg show wg0 peers | wc -l) peers, of which 17 were meant to stay"
    else
        # Whatever was hit, the next pass finds the rest and brings it to order.
        agent apply >/tmp/apply.log || [ $? = 3 ] || missed=$((missed + 1))
        [ "$(keepalives wg0)" = 17x25 ] || missed=$((missed + 1))
    fi
    ip link delete wg0
done
is "peers removed within apply, $round times: peers that came back" "$ghosts" 0
is 'applies that crashed' "$crashes" 0
is 'next passes that left something undone' "$missed" 0
drop_eth0
