# shellcheck shell=dash
# What the scenarios share: results, polling, a described machine.

# busybox' shell prefers its own applets to anything in PATH.
ip() { /vm/bin/ip "$@"; }

# ok NAME COMMAND...: one line of result, and the command's output if it failed.
ok() {
    ok_name=$1
    shift
    if "$@" >/tmp/ok.out 2>&1; then
        echo "ok $ok_name" | tee -a /tmp/results
    else
        echo "not ok $ok_name" | tee -a /tmp/results
        sed 's/^/#   /' /tmp/ok.out | tail -n 20
    fi
}

not() { ! "$@"; }

# is WHAT GOT WANT: equal strings.
is() {
    if [ "$2" = "$3" ]; then
        echo "ok $1" | tee -a /tmp/results
    else
        echo "not ok $1: got '$2', not '$3'" | tee -a /tmp/results
    fi
}

# within SECONDS COMMAND...: true as soon as the command is, false at the deadline.
within() {
    within_end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$within_end" ] || return 1
        usleep 50000
    done
}

# agent SUBCOMMAND: runs wslmesh with /tmp/agent.toml; output in /tmp/agent.out.
# Returns its exit status; a failing one is shown.
agent() {
    agent_status=0
    timeout -s KILL 60 wslmesh "$1" --config /tmp/agent.toml >/tmp/agent.out 2>&1 </dev/null || agent_status=$?
    [ "$agent_status" = 0 ] || sed "s/^/#   wslmesh $1: /" /tmp/agent.out | tail -n 20
    return "$agent_status"
}

# Writes /tmp/agent.toml: no Windows side, and what a scenario adds on stdin; the
# rest has its default.
config() {
    {
        printf '[network]\nconfig-file = "/tmp/wsl-network.conf"\n'
        printf '[host]\nbackend = "none"\n'
        cat
    } >/tmp/agent.toml
}

# make_eth0 MTU: eth0 as WSL has it, on a veth whose other end is Windows.
make_eth0() {
    ip link add eth0 mtu "$1" type veth peer name windows mtu 1500
    ip address add 172.28.16.5/20 dev eth0
    ip link set windows up
    ip link set eth0 up
    ip route add default via 172.28.16.1 dev eth0
    : >/tmp/wsl-network.conf
}

drop_eth0() { ip link delete eth0; }

mtu_of() { cat "/sys/class/net/$1/mtu"; }

# peers FIRST LAST: peers with endpoint, allowed addresses and preshared key, in
# the form of wg setconf. The keys are digits in base64; they are never used.
peers() {
    awk -v first="$1" -v last="$2" 'BEGIN {
        for (i = first; i <= last; i++) {
            printf "[Peer]\nPublicKey = PEER%05d%sA=\n", i, pad(33)
            printf "PresharedKey = SHARED%05d%sA=\n", i, pad(31)
            printf "AllowedIPs = 10.%d.%d.0/24, fd00:%x::/64\n", int(i / 250), i % 250, i
            printf "Endpoint = 192.0.2.%d:%d\n", 1 + i % 250, 20000 + i
        }
    }
    function pad(n, s) { while (length(s) < n) s = s "A"; return s }'
}

public_key() { peers "$1" "$1" | sed -n 's/^PublicKey = //p'; }

# make_wg NAME LAST: a WireGuard interface with peers 1 to LAST, as wg-quick
# makes one: link, configuration, address, MTU and up, in this order.
make_wg() {
    ip link add "$1" type wireguard
    { printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\n' "$(wg genkey)"; peers 1 "$2"; } >/tmp/make_wg.conf
    wg setconf "$1" /tmp/make_wg.conf
    ip address add 10.255.0.1/16 dev "$1"
    ip link set "$1" mtu 1420 up
}

# keepalives NAME: how often each keepalive occurs, such as "397x25 3x10".
keepalives() {
    wg show "$1" persistent-keepalive | cut -f 2 | sort | uniq -c | sort -rn | awk '{ printf "%s%sx%s", sep, $1, $2; sep = " " }'
}

# lab_begin: makes the guest fit for the lab's worlds; lab_end undoes it.
lab_begin() {
    # A world mounts a /proc of its own, which the kernel refuses while something
    # hides part of this one.
    umount /proc/sys/kernel/osrelease
    # A world has a wslinfo of its own, which reports the world's mode.
    mv /usr/bin/wslinfo /tmp/wslinfo
    export WSLMESH_BIN=/vm/bin/wslmesh WSLMESH_RELAY_BIN=/vm/bin/wslmesh-relay
}

lab_end() {
    mv /tmp/wslinfo /usr/bin/wslinfo
    mount -o bind /tmp/osrelease /proc/sys/kernel/osrelease
}

# trial NAME: that one trial of the lab; its output is shown where it failed.
trial() {
    if timeout -s KILL "${TRIAL_LIMIT:-180}" lab @kernel --exact "$1" >/tmp/lab.out 2>&1 && grep -q '1 passed' /tmp/lab.out; then
        return
    fi
    cat /tmp/lab.out
    return 1
}

# figures: what the last trial measured.
figures() { grep '^# ' /tmp/lab.out || true; }
